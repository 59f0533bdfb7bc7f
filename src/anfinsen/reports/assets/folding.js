// The parts of report.html that only AlphaFold 1 fills. `tools` are those of report.js: report, layout, viewer (a
// function: null until it is there, or where there is none), queue (runs one drawing after the other), showStructure.
function foldingParts(tools) {
  const { report, layout, viewer, queue, showStructure } = tools;
  const folding = report.folding, { size, step, scale } = folding;
  const places = Array.from({ length: size }, (_, index) => index * step + (step + 1) / 2);
  const names = places.map((place) => report.residues[Math.min(Math.floor(place) - 1, report.residues.length - 1)]);
  const range = [0.5, folding.residues + 0.5];
  const FRAME_MS = 70, CONTACT = 8;
  let sample, seed, model = null, loaded = null, wanted = 0, playing = false;

  // ---- maps ----

  const words = (write) => places.map((_, i) => places.map((__, j) => write(i, j)));
  const square = () => layout({
    margin: { l: 46, r: 8, t: 10, b: 44 },
    xaxis: axis("residue", { range, constrain: "domain", showgrid: false }),
    yaxis: axis("residue", { range: [range[1], range[0]], scaleanchor: "x", constrain: "domain", showgrid: false }),
  });

  function drawDistances() {
    const expected = pixels(seed.expected, size, scale), spread = pixels(seed.spread, size, scale);
    const realised = pixels(sample.realised, size, scale);
    const text = words((i, j) => `${names[i]} – ${names[j]}<br>predicted ${expected[i][j].toFixed(1)} ± ${spread[i][j].toFixed(1)} Å`
      + `<br>realised ${realised[i][j] < 31.8 ? realised[i][j].toFixed(1) : "more than 31"} Å`);
    const map = (z) => ({
      type: "heatmap", x: places, y: places, z, text, hoverinfo: "text", zmin: 2, zmax: 22, zsmooth: false,
      colorscale: [[0, "#08306b"], [0.3, "#2171b5"], [0.6, "#9ecae1"], [1, "#f7fbff"]],
      colorbar: { title: { text: "Å", side: "top" }, thickness: 12, outlinewidth: 0, len: 0.9 },
    });
    Plotly.react("distogram-plot", [map(expected)], square(), config);
    Plotly.react("realised-plot", [map(realised)], square(), config);
  }

  function drawContacts() {
    const probability = pixels(seed.contacts, size, 255);
    const upper = probability.map((row, i) => row.map((value, j) => (j > i ? value : null)));
    const lower = probability.map((row) => row.map(() => null));
    for (let index = 0; index < sample.touching.length; index += 2) {
      const i = Math.floor(sample.touching[index] / step), j = Math.floor(sample.touching[index + 1] / step);
      if (j > i) lower[j][i] = probability[j][i] > 0.5 ? 0 : 1;
    }
    const text = words((i, j) => i === j ? names[i] : `${names[i]} – ${names[j]}<br>probability ${(100 * probability[i][j]).toFixed(0)} %`
      + `<br>${lower[Math.max(i, j)][Math.min(i, j)] === null ? "apart" : `within ${CONTACT} Å`}`);
    const base = { type: "heatmap", x: places, y: places, text, hoverinfo: "text", zmin: 0, zmax: 1, zsmooth: false, hoverongaps: true };
    const [likely, unlikely] = ["--realised-likely", "--realised-unlikely"].map(variable);
    Plotly.react("contacts-plot", [
      { ...base, z: upper, colorscale: [[0, variable("--card")], [0.5, "#6baed6"], [1, likely]],
        colorbar: { title: { text: "probability", side: "top" }, thickness: 12, outlinewidth: 0, len: 0.9 } },
      { ...base, z: lower, colorscale: [[0, likely], [0.5, likely], [0.5, unlikely], [1, unlikely]], showscale: false },
    ], { ...square(), shapes: [{ type: "line", x0: range[0], y0: range[0], x1: range[1], y1: range[1], line: { color: variable("--soft"), width: 1 } }] }, config);
    element("contacts-kept").textContent = sample.kept === null ? "" :
      `Of the ${folding.residues} likeliest pairs at least ${folding.longRange} residues apart, ${(100 * sample.kept).toFixed(0)} % are within ${CONTACT} Å in this structure.`;
  }

  // ---- the potential, and where on its way down the shown frame lies ----

  const lastFrame = () => seed.frames.length - 1;

  function drawEnergy() {
    const steps = seed.trace.map((_, index) => index), at = seed.frameSteps[wanted];
    // A stage with firmer bonds begins far up: what is above the first value is cut off.
    const low = Math.min(...seed.trace), top = Math.max(seed.trace[0], low + 1), margin = 0.06 * (top - low);
    const line = {
      x: steps, y: seed.trace, mode: "lines", line: { color: variable("--accent"), width: 1.6 },
      hovertemplate: "step %{x}<br>potential %{y:,.1f}<extra></extra>",
    };
    const here = { x: [at], y: [seed.trace[at]], mode: "markers", marker: { size: 10, color: variable("--very-low") }, hoverinfo: "skip" };
    const shapes = seed.stages.map((x) => ({
      type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: variable("--soft"), width: 1, dash: "dash" },
    }));
    Plotly.react("energy-plot", [line, here], layout({
      shapes, margin: { l: 64, r: 12, t: 12, b: 44 }, xaxis: axis("step", { showgrid: false }),
      yaxis: axis("potential", { range: [low - margin, top + margin], tickformat: ",d" }),
    }), config);
  }

  function showPlace() {
    const at = seed.frameSteps[wanted];
    element("frame").value = wanted;
    element("frame-step").textContent = `step ${at} of ${seed.trace.length - 1}`;
    Plotly.restyle("energy-plot", { x: [[at]], y: [[seed.trace[at]]] }, [1]);
  }

  // ---- the folding, played in the structure's place ----

  function trajectory() {
    // One mmCIF model per frame, CA atoms only. Frames after the first are differences.
    const columns = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id", "label_entity_id", "label_seq_id",
      "auth_asym_id", "auth_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "pdbx_PDB_model_num"];
    const lines = ["data_folding", "loop_", ...columns.map((name) => `_atom_site.${name}`)];
    const residues = report.residues.map((name) => name.split(" ")[1]), place = new Array(3 * residues.length).fill(0);
    const frames = seed.frames.map((frame) => { frame.forEach((value, index) => { place[index] += value; }); return [...place]; });
    // The viewer sees from the first model where the chain is broken: the last frame goes before all of them.
    let id = 0;
    [frames[frames.length - 1], ...frames].forEach((frame, number) => {
      residues.forEach((residue, index) => {
        const [x, y, z] = [0, 1, 2].map((each) => (frame[3 * index + each] / folding.frameScale).toFixed(1));
        id += 1;
        lines.push(`ATOM ${id} C CA ${residue} A 1 ${index + 1} A ${index + 1} ${x} ${y} ${z} ${number + 1}`);
      });
    });
    return `${lines.join("\n")}\n`;
  }

  async function load(index) {
    const plugin = viewer().plugin, builders = plugin.builders.structure;
    const camera = plugin.canvas3d.camera.getSnapshot();
    await plugin.clear();
    const data = await plugin.builders.data.rawData({ data: trajectory() });
    model = await builders.createModel(await builders.parseTrajectory(data, "mmcif"), { modelIndex: index + 1 });
    const component = await builders.tryCreateComponentStatic(await builders.createStructure(model), "polymer");
    await builders.representation.addRepresentation(component, { type: "cartoon", color: "sequence-id" });
    // A camera without radius has not looked at anything yet.
    if (camera.radius > 1) plugin.canvas3d.requestCameraReset({ snapshot: camera, durationMs: 0 });
    else plugin.managers.camera.reset(undefined, 0);
    loaded = seed;
  }

  function showFrame(index) {
    wanted = index;
    showPlace();
    return queue(async () => {
      if (index !== wanted || !viewer()) return; // a later one waits already
      if (loaded !== seed) await load(index);
      else await viewer().plugin.build().to(model).update((old) => ({ ...old, modelIndex: index + 1 })).commit();
    });
  }

  function setPlaying(on) {
    playing = on;
    element("play").textContent = on ? "Pause" : "Play the folding";
  }

  async function play() {
    setPlaying(true);
    let index = wanted < lastFrame() ? wanted : -1;
    while (playing && index < lastFrame()) {
      index += 1;
      await showFrame(index);
      await new Promise((done) => { setTimeout(done, FRAME_MS); });
    }
    if (index >= lastFrame()) setPlaying(false);
  }

  element("play").addEventListener("click", () => { if (playing) setPlaying(false); else play(); });
  element("frame").addEventListener("input", (event) => { setPlaying(false); showFrame(Number(event.target.value)); });
  element("folded").addEventListener("click", () => { setPlaying(false); showStructure(true); });

  function draw() { drawDistances(); drawContacts(); drawEnergy(); }

  return {
    draw,
    choose(index) {
      setPlaying(false);
      sample = folding.samples[index];
      seed = folding.seeds[sample.seed];
      wanted = lastFrame();
      element("frame").max = lastFrame();
      draw();
      showPlace();
    },
    ready() { ["play", "frame", "folded"].forEach((name) => { element(name).disabled = false; }); },
    cleared() { loaded = null; }, // the structure is in the viewer again
  };
}

