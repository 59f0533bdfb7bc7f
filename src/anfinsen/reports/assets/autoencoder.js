// Runs inside an autoencoder's report: unpacks data and the plotting library that stand in the page, and draws.
(() => {
  // Okabe and Ito's colours: told apart by colour-blind readers, on light and dark; shapes change when they run out.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98"];
  const SYMBOLS = ["circle", "diamond", "cross", "triangle-up", "square"];
  const OUTLIER = "#d55e00";
  const MOST_DUMBBELLS = 60; // columns; more are drawn as lines

  let data;
  const roomy = (title, extra) => axis(title, { automargin: true, ...extra });

  function layout(extra) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: variable("--text"), size: 12 },
      margin: { l: 56, r: 14, t: 12, b: 44 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, ...extra,
    };
  }

  function drawLosses() {
    const { training, validation } = data.losses;
    const line = (name, values, colour) => ({
      name, x: values.map((_, i) => i + 1), y: values, mode: values.length > 1 ? "lines" : "markers", line: { color: colour, width: 1.8 },
      hovertemplate: "epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
    });
    const traces = [line("training", training, COLOURS[0])];
    if (validation.length) traces.push(line("validation", validation, COLOURS[1]));
    const all = [...training, ...validation], positive = all.every((value) => value > 0);
    // Over many powers of ten only those are labelled, over few also 2 and 5 times them.
    const wide = positive && Math.max(...all) > 300 * Math.min(...all);
    Plotly.react("losses-plot", traces, layout({
      xaxis: roomy("epoch", { tickformat: "d", rangemode: "tozero" }),
      yaxis: roomy("loss", positive ? { type: "log", dtick: wide ? 1 : "D2", tickformat: ".1~g" } : {}),
    }), config);
  }

  function drawHistogram() {
    const { edges, counts, threshold } = data.histogram;
    const middle = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
    const most = Math.max(...counts);
    const shapes = threshold === null ? [] : [{ type: "line", x0: threshold, x1: threshold, y0: 0, y1: 1, yref: "paper", line: { color: OUTLIER, width: 2, dash: "dash" } }];
    Plotly.react("histogram-plot", [{
      type: "bar", x: middle, y: counts, width: counts.map((_, i) => edges[i + 1] - edges[i]),
      marker: { color: middle.map((at) => (threshold !== null && at > threshold ? OUTLIER : COLOURS[0])), line: { width: 0 } },
      customdata: counts.map((_, i) => `${edges[i].toPrecision(4)} to ${edges[i + 1].toPrecision(4)}`),
      hovertemplate: "%{customdata}: %{y} rows<extra></extra>",
    }], layout({
      showlegend: false, bargap: 0, shapes, xaxis: roomy("anomaly score"), yaxis: roomy("rows", most > 200 ? { type: "log", dtick: 1 } : {}),
    }), config);
  }

  function points(rows, extra) {
    const { x, y, names, scores, labels } = data.map;
    return {
      type: "scattergl", mode: "markers", x: rows.map((i) => x[i]), y: rows.map((i) => y[i]),
      text: rows.map((i) => `${names[i]}${labels ? ` (${labels[i]})` : ""}<br>score ${scores[i].toPrecision(4)}`),
      hovertemplate: "%{text}<extra></extra>", ...extra,
    };
  }

  function drawMap() {
    const { names, labels, numeric, label_name, scores, outlier, x_title, y_title } = data.map;
    const all = names.map((_, i) => i), size = all.length > 2000 ? 4 : 6;
    const by = element("colour").value;
    let traces;
    if (by === "label" && !numeric) {
      const kinds = [...new Set(labels)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      traces = kinds.map((kind, k) => points(all.filter((i) => labels[i] === kind), {
        name: kind === "" ? "(none)" : kind,
        marker: { color: COLOURS[k % COLOURS.length], symbol: SYMBOLS[Math.floor(k / COLOURS.length) % SYMBOLS.length], size, opacity: 0.75 },
      }));
    } else if (by === "outlier") {
      traces = [["inside", false, COLOURS[0]], ["outlier", true, OUTLIER]].map(([name, flag, colour]) => points(
        all.filter((i) => outlier[i] === flag), { name, marker: { color: colour, size, opacity: 0.7 } }));
    } else {
      // Ranks of scores, not scores: a few huge ones would leave one colour for all others.
      const order = [...all].sort((a, b) => scores[a] - scores[b]), rank = [];
      order.forEach((i, place) => { rank[i] = (place + 0.5) / all.length; });
      const label = by === "label";
      const bar = label ? { title: { text: label_name } } : { title: { text: "score" }, tickvals: [0, 0.5, 1], ticktext: ["lowest", "median", "highest"] };
      traces = [points(all, {
        name: "", showlegend: false,
        marker: { color: label ? labels : rank, colorscale: "Viridis", size, opacity: 0.8, colorbar: { thickness: 12, outlinewidth: 0, ...bar } },
      })];
    }
    Plotly.react("map-plot", traces, layout({ xaxis: roomy(x_title), yaxis: roomy(y_title), legend: { itemsizing: "constant" } }), config);
  }

  function drawRow() {
    const row = data.examples[Number(element("row").value)];
    const { columns, centre, spread } = data;
    const standard = (values) => values.map((value, j) => (value - centre[j]) / spread[j]);
    const truth = standard(row.values), made = standard(row.reconstruction);
    const named = columns.map((name, j) => `${name}: ${row.values[j].toPrecision(5)} → ${row.reconstruction[j].toPrecision(5)}`);
    const hover = { text: named, hovertemplate: "%{text}<extra>%{fullData.name}</extra>" };
    const places = columns.map((_, j) => j);
    const few = columns.length <= MOST_DUMBBELLS;
    const traces = few ? [
      {
        x: places.flatMap((j) => [j, j, null]), y: places.flatMap((j) => [truth[j], made[j], null]), mode: "lines",
        line: { color: variable("--soft"), width: 1.5 }, hoverinfo: "skip", showlegend: false,
      },
      { name: "true", x: places, y: truth, mode: "markers", marker: { color: COLOURS[0], size: 9, symbol: "circle-open", line: { width: 2 } }, ...hover },
      { name: "reconstructed", x: places, y: made, mode: "markers", marker: { color: COLOURS[1], size: 7 }, ...hover },
    ] : [
      { name: "true", x: places, y: truth, mode: "lines", line: { color: COLOURS[0], width: 1.6 }, ...hover },
      { name: "reconstructed", x: places, y: made, mode: "lines", line: { color: COLOURS[1], width: 1.2 }, ...hover },
    ];
    const ticks = few ? { tickvals: places, ticktext: columns.map((name) => (name.length > 18 ? `${name.slice(0, 17)}…` : name)), tickangle: columns.length > 8 ? -45 : 0 } : {};
    Plotly.react("row-plot", traces, layout({
      xaxis: roomy(few ? "" : "column", { ...ticks, range: [-0.6, columns.length - 0.4], showgrid: few }),
      yaxis: roomy("standard deviations"),
    }), config);
  }

  function draw() {
    if (data.losses.training.length) drawLosses();
    drawHistogram();
    drawMap();
    if (element("row")) drawRow();
  }

  async function start() {
    data = JSON.parse(await unpacked("data-report"));
    const script = document.createElement("script");
    script.textContent = await unpacked("data-plotly");
    document.head.append(script);
    if (!data.losses.training.length) element("losses-plot").remove();
    element("colour").addEventListener("change", drawMap);
    if (element("row")) element("row").addEventListener("change", drawRow);
    dark.addEventListener("change", draw);
    draw();
  }

  start().catch((error) => {
    const note = document.createElement("p");
    note.className = "warning";
    note.textContent = `This page could not be drawn whole: ${error.message}. The tables are.`;
    element("ranking").prepend(note);
  });
})();
