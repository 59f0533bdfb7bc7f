// Runs inside evaluation.html: unpacks data and the plotting library that stand in the page, and draws the chosen score.
(() => {
  // Okabe and Ito's colours: told apart by colour-blind readers, on light and dark.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

  let data;
  const roomy = (title, extra) => axis(title, { automargin: true, ...extra });
  const colour = (model) => COLOURS[data.models.indexOf(model) % COLOURS.length];

  function layout(extra) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: variable("--text"), size: 12 },
      margin: { l: 52, r: 12, t: 12, b: 44 }, showlegend: data.models.length > 1, legend: { orientation: "h", y: 1.12 }, ...extra,
    };
  }

  function values(model, score) {
    return data.entries.filter((entry) => entry.model === model && score in entry.scores);
  }

  function drawScores() {
    const score = element("score").value;
    const kinds = new Set(data.entries.map((entry) => entry.kind));
    const traces = data.models.map((model) => {
      const rows = values(model, score);
      return {
        type: "box", name: model, x: rows.map((row) => row.kind || (kinds.size > 1 ? "no class" : "all")),
        y: rows.map((row) => row.scores[score]), text: rows.map((row) => row.name), boxpoints: "all", jitter: 0.5, pointpos: 0,
        marker: { color: colour(model), size: 5, opacity: 0.6 }, line: { width: 1.4 }, fillcolor: "rgba(0,0,0,0)",
        hovertemplate: "%{text}<br>%{y}<extra>%{fullData.name}</extra>",
      };
    });
    Plotly.react("scores-plot", traces, layout({
      boxmode: "group", xaxis: roomy("", { type: "category" }), yaxis: roomy(data.scores[score].label, { rangemode: "tozero" }),
    }), config);
  }

  function drawPairs() {
    const score = element("score").value, first = element("first").value, second = element("second").value;
    const others = new Map(values(second, score).map((row) => [row.name, row.scores[score]]));
    const rows = values(first, score).filter((row) => others.has(row.name));
    const x = rows.map((row) => row.scores[score]), y = rows.map((row) => others.get(row.name));
    const most = Math.max(...x, ...y, 0), least = Math.min(...x, ...y, 0);
    const better = data.scores[score].better;
    const wins = rows.filter((row, i) => (better === "low" ? y[i] < x[i] : y[i] > x[i])).length;
    element("pairs-hint").textContent = better === "" ? `${rows.length} entries.`
      : `${second} is better for ${wins} of ${rows.length} entries.`;
    Plotly.react("pairs-plot", [
      { x: [least, most], y: [least, most], mode: "lines", line: { color: variable("--soft"), width: 1, dash: "dash" }, hoverinfo: "skip" },
      {
        x, y, text: rows.map((row) => row.name), mode: "markers", marker: { color: variable("--accent"), size: 7, opacity: 0.7 },
        hovertemplate: "%{text}<br>%{x} → %{y}<extra></extra>",
      },
    ], layout({
      showlegend: false, xaxis: roomy(`${first}: ${data.scores[score].label}`), yaxis: roomy(`${second}: ${data.scores[score].label}`, { scaleanchor: "x" }),
    }), config);
  }

  function drawCalibration() {
    const known = data.models.filter((model) => data.calibration[model]);
    if (!known.length) { element("calibration-plot").remove(); return; }
    const traces = [{
      x: [0, 100], y: [0, 100], mode: "lines", line: { color: variable("--soft"), width: 1, dash: "dash" }, hoverinfo: "skip", showlegend: false,
    }];
    known.forEach((model) => {
      const bins = data.calibration[model].bins.filter((row) => row.residues > 0);
      const most = Math.max(...bins.map((row) => row.residues));
      traces.push({
        name: model, x: bins.map((row) => row.plddt), y: bins.map((row) => row.lddt), mode: "lines+markers",
        text: bins.map((row) => `${row.residues} residues`), line: { color: colour(model), width: 1.6 },
        marker: { color: colour(model), size: bins.map((row) => 5 + 12 * Math.sqrt(row.residues / most)) },
        hovertemplate: "pLDDT %{x:.1f}, lDDT %{y:.1f}<br>%{text}<extra>%{fullData.name}</extra>",
      });
    });
    Plotly.react("calibration-plot", traces, layout({
      xaxis: roomy("mean pLDDT", { range: [0, 100] }), yaxis: roomy("mean lDDT × 100", { range: [0, 100] }),
    }), config);
  }

  function draw() {
    drawScores();
    if (data.models.length > 1) drawPairs();
    if (element("calibration-plot")) drawCalibration();
  }

  async function start() {
    data = JSON.parse(await unpacked("data-report"));
    const script = document.createElement("script");
    script.textContent = await unpacked("data-plotly");
    document.head.append(script);
    if (data.models.length > 1) {
      ["first", "second"].forEach((id, index) => {
        data.models.forEach((model) => element(id).add(new Option(model, model)));
        element(id).selectedIndex = index;
        element(id).addEventListener("change", drawPairs);
      });
    } else {
      element("pairs").remove();
    }
    if (!data.entries.length) { ["scores", "pairs"].forEach((id) => element(id) && element(id).remove()); return; }
    element("score").addEventListener("change", draw);
    dark.addEventListener("change", draw);
    draw();
    if (element("structures")) await showSuperposed(colour);
  }

  start().catch((error) => {
    const note = document.createElement("p");
    note.className = "warning";
    note.textContent = `This page could not be drawn whole: ${error.message}. The tables are.`;
    element("means").prepend(note);
  });
})();
