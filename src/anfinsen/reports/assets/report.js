// Runs inside report.html: unpacks data and libraries that stand in the page, draws the chosen structure and its plots.
(() => {
  const number = (name) => parseInt(variable(name).slice(1), 16);

  function addScript(text) {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
  }

  function fail(place, message) {
    const note = document.createElement("p");
    note.className = "warning";
    note.textContent = message;
    element(place).replaceChildren(note);
  }

  let report, current = 0, viewer = null, folding = null, loading = Promise.resolve();

  // ---- plots ----

  function layout(extra) {
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: variable("--text"), size: 12 },
      margin: { l: 52, r: 12, t: 24, b: 44 }, hoverlabel: { font: { size: 12 } }, showlegend: false,
    };
    return { ...base, ...extra };
  }

  function chainLabels(spans, top) {
    // Labels of very short chains would lie on each other.
    const total = spans[spans.length - 1].end;
    return spans.filter((span) => span.end - span.start > total / 40).map((span) => ({
      x: (span.start + span.end) / 2 + 0.5, y: top, yanchor: "bottom", text: span.id, showarrow: false,
      font: { size: 12, color: variable("--soft") },
    }));
  }

  function drawPlddt() {
    const sample = report.samples[current], spans = report.residueSpans;
    const bands = [[90, 100, "--very-high"], [70, 90, "--confident"], [50, 70, "--low"], [0, 50, "--very-low"]];
    const shapes = bands.map(([y0, y1, colour]) => ({
      type: "rect", xref: "paper", x0: 0, x1: 1, y0, y1, fillcolor: variable(colour), opacity: 0.16, line: { width: 0 }, layer: "below",
    }));
    spans.slice(1).forEach((span) => shapes.push({
      type: "line", x0: span.start + 0.5, x1: span.start + 0.5, yref: "paper", y0: 0, y1: 1,
      line: { color: variable("--soft"), width: 1, dash: "dash" },
    }));
    // A gap between chains, so that no line joins them.
    const x = [], y = [], text = [], size = [];
    spans.forEach((span) => {
      for (let index = span.start; index < span.end; index += 1) {
        x.push(index + 1); y.push(sample.plddt[index]); text.push(report.residues[index]);
        size.push(span.end - span.start === 1 ? 5 : 0); // a single residue makes no line
      }
      x.push(null); y.push(null); text.push(""); size.push(0);
    });
    const trace = {
      x, y, text, mode: "lines+markers", marker: { size, line: { width: 0 }, color: variable("--accent") }, line: { color: variable("--accent"), width: 1.6 },
      hovertemplate: "%{text}<br>pLDDT %{y:.1f}<extra></extra>",
    };
    Plotly.react("plddt-plot", [trace], layout({
      shapes, annotations: chainLabels(spans, 100),
      xaxis: axis("residue", { showgrid: false, range: [0.5, report.residues.length + 0.5] }), yaxis: axis("pLDDT", { range: [0, 100] }),
    }), config);
  }

  function drawPae() {
    const sample = report.samples[current], size = report.pae.size, step = report.pae.step;
    const z = pixels(sample.pae, size, report.pae.scale);
    const places = Array.from({ length: size }, (_, index) => index * step + (step + 1) / 2);
    const names = places.map((place) => report.tokens[Math.min(Math.floor(place) - 1, report.tokens.length - 1)]);
    const hover = z.map((row, i) => row.map((value, j) => `${names[i]} → ${names[j]}<br>${value.toFixed(1)} Å`));
    const shapes = [], range = [0.5, report.tokens.length + 0.5];
    const line = { color: dark.matches ? "#e6eaf0" : "#1b2330", width: 1 };
    report.tokenSpans.slice(1).forEach((span) => {
      const at = span.start + 0.5;
      shapes.push({ type: "line", x0: at, x1: at, y0: range[0], y1: range[1], line });
      shapes.push({ type: "line", y0: at, y1: at, x0: range[0], x1: range[1], line });
    });
    const trace = {
      type: "heatmap", x: places, y: places, z, text: hover, hoverinfo: "text", zmin: 0, zmax: 31.75, zsmooth: false,
      colorscale: [[0, "#00441b"], [0.25, "#238b45"], [0.5, "#74c476"], [0.75, "#c7e9c0"], [1, "#f7fcf5"]],
      colorbar: { title: { text: "Å", side: "top" }, thickness: 12, outlinewidth: 0, len: 0.9 },
    };
    Plotly.react("pae-plot", [trace], layout({
      shapes, annotations: chainLabels(report.tokenSpans, 0.5),
      xaxis: axis("token whose place is judged", { range, constrain: "domain", showgrid: false }),
      yaxis: axis("token laid over", { range: [range[1], range[0]], scaleanchor: "x", constrain: "domain", showgrid: false }),
    }), config);
  }

  function drawDepths() {
    report.depths.forEach((depth, index) => {
      const x = depth.covering.map((_, position) => position + 1);
      const line = (y, name, colour, extra) => ({
        x, y, name, mode: "lines", line: { color: variable(colour), width: 1.6, shape: "hvh" },
        hovertemplate: `${depth.chain} %{x}: %{y:,d}<extra>${name}</extra>`, ...extra,
      });
      const traces = [
        line(depth.covering, "all", "--accent", { fill: "tozeroy", fillcolor: variable("--accent") + "22" }),
        line(depth.similar, "50 % identical or more", "--very-low"),
      ];
      Plotly.react(`depth-plot-${index}`, traces, layout({
        showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        xaxis: axis("residue", { showgrid: false, range: [0.5, x.length + 0.5] }),
        yaxis: axis("sequences", { rangemode: "tozero" }),
      }), config);
    });
  }

  // ---- structure ----

  const LADDER = () => {
    const [a, b, c, d] = ["--very-low", "--low", "--confident", "--very-high"].map(number);
    return [[a, 0], [a, 0.4999], [b, 0.5], [b, 0.6999], [c, 0.7], [c, 0.8999], [d, 0.9], [d, 1]];
  };

  function colouring() {
    if (element("colour").value === "chain") return { color: "chain-id" };
    return { color: "uncertainty", colorParams: { domain: [0, 100], list: { kind: "interpolate", colors: LADDER() } } };
  }

  async function makeViewer() {
    const style = document.createElement("style");
    style.textContent = await unpacked("data-viewer-style");
    document.head.append(style);
    addScript(await unpacked("data-viewer"));
    const place = element("viewer");
    place.replaceChildren();
    viewer = await molstar.Viewer.create(place, {
      layoutIsExpanded: false, layoutShowControls: false, layoutShowRemoteState: false, layoutShowSequence: false,
      layoutShowLog: false, layoutShowLeftPanel: false, viewportShowExpand: false, viewportShowSelectionMode: false,
      viewportShowAnimation: false, viewportShowSettings: false, viewportShowControls: false, viewportShowTrajectoryControls: false,
      volumeStreamingDisabled: true, pdbProvider: "rcsb", emdbProvider: "rcsb",
    });
    setBackground();
  }

  function setBackground() {
    if (!viewer || !viewer.plugin.canvas3d) return;
    const renderer = { ...viewer.plugin.canvas3d.props.renderer, backgroundColor: number("--card") };
    viewer.plugin.canvas3d.setProps({ renderer });
  }

  async function drawStructure(keepView) {
    const plugin = viewer.plugin, builders = plugin.builders.structure;
    const camera = keepView ? plugin.canvas3d.camera.getSnapshot() : null;
    if (folding) folding.cleared();
    await plugin.clear();
    const data = await plugin.builders.data.rawData({ data: report.samples[current].model });
    const model = await builders.createModel(await builders.parseTrajectory(data, "mmcif"));
    const structure = await builders.createStructure(model);
    const shapes = [["polymer", "cartoon"], ["ligand", "ball-and-stick"], ["branched", "ball-and-stick"],
      ["non-standard", "ball-and-stick"], ["ion", "spacefill"]];
    for (const [part, type] of shapes) {
      const component = await builders.tryCreateComponentStatic(structure, part);
      if (component) await builders.representation.addRepresentation(component, { type, ...colouring() });
    }
    setBackground();
    if (camera) plugin.canvas3d.requestCameraReset({ snapshot: camera, durationMs: 0 });
    else plugin.managers.camera.reset(undefined, 0);
  }

  function queue(drawing) {
    // One after the other: a second choice may come while the first is being drawn.
    loading = loading.then(drawing).catch((error) => {
      fail("viewer", `The structure cannot be shown here (${error.message || error}): open its mmCIF file in a molecular viewer.`);
    });
    return loading;
  }

  function showStructure(keepView) {
    queue(() => viewer && drawStructure(keepView));
  }

  // ---- the page ----

  function choose(index) {
    current = index;
    document.querySelectorAll("tbody[data-sample]").forEach((body) => { body.hidden = Number(body.dataset.sample) !== index; });
    const link = element("download"), sample = report.samples[index];
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([sample.model], { type: "chemical/x-mmcif" }));
    link.download = `${sample.file}_model.cif`;
    drawPlddt();
    drawPae();
    if (folding) folding.choose(index);
    showStructure(true);
  }

  async function start() {
    report = JSON.parse(await unpacked("data-report"));
    addScript(await unpacked("data-plotly"));
    document.querySelectorAll("input[name=sample]").forEach((input) => {
      input.addEventListener("change", () => choose(Number(input.value)));
    });
    element("colour").addEventListener("change", () => showStructure(true));
    element("reset").addEventListener("click", () => viewer && viewer.plugin.managers.camera.reset());
    element("image").addEventListener("click", () => viewer && viewer.plugin.helpers.viewportScreenshot.download());
    element("spin").addEventListener("click", (event) => {
      const on = event.target.getAttribute("aria-pressed") !== "true";
      event.target.setAttribute("aria-pressed", String(on));
      const animate = on ? { name: "spin", params: { speed: 0.5, axis: [0, 1, 0] } } : { name: "off", params: {} };
      if (viewer) viewer.plugin.canvas3d.setProps({ trackball: { ...viewer.plugin.canvas3d.props.trackball, animate } });
    });
    dark.addEventListener("change", () => { drawPlddt(); drawPae(); drawDepths(); setBackground(); if (folding) folding.draw(); });
    if (report.folding) folding = foldingParts({ report, layout, viewer: () => viewer, queue, showStructure });
    drawDepths();
    const chosen = document.querySelector("input[name=sample]:checked");
    choose(chosen ? Number(chosen.value) : 0);
    try {
      await makeViewer();
    } catch (error) {
      fail("viewer", `The structure view needs WebGL, which this browser does not give (${error.message || error}).`);
      viewer = null;
      return;
    }
    showStructure(false);
    if (folding) folding.ready();
  }

  start().catch((error) => fail("viewer", `This report needs a newer browser (${error.message || error}).`));
})();
