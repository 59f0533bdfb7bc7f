// The view of evaluation.html: the models of one entry on its reference, each in its colour, any of them hidden at will.
async function showSuperposed(colour) {
  const REFERENCE = "#8b93a0"; // seen on light and on dark
  const SHAPES = [["polymer", "cartoon"], ["ligand", "ball-and-stick"], ["branched", "ball-and-stick"],
    ["non-standard", "ball-and-stick"], ["ion", "spacefill"]];
  const entries = JSON.parse(await unpacked("data-structures")), hidden = new Set();
  let entry = entries[0], viewer = null, loading = Promise.resolve();

  const score = (value) => (value === null ? "–" : value.toFixed(3));
  const parts = () => [
    { key: "", label: "known structure", cif: entry.reference, colour: REFERENCE },
    ...entry.models.map((model) => ({
      key: model.model, cif: model.cif, colour: colour(model.model),
      label: `${model.model}: TM-score ${score(model.tm)}, lDDT ${score(model.lddt)}`
        + (model.tmAlign === null ? "" : ` (TM-align ${score(model.tmAlign)})`),
    })),
  ];

  function warn(message) {
    const note = document.createElement("p");
    note.className = "warning";
    note.textContent = message;
    element("viewer").replaceChildren(note);
  }

  async function add(part) {
    const builders = viewer.plugin.builders;
    const data = await builders.data.rawData({ data: part.cif });
    const model = await builders.structure.createModel(await builders.structure.parseTrajectory(data, "mmcif"));
    const structure = await builders.structure.createStructure(model);
    const look = { color: "uniform", colorParams: { value: parseInt(part.colour.slice(1), 16) } };
    for (const [kind, type] of SHAPES) {
      const component = await builders.structure.tryCreateComponentStatic(structure, kind);
      if (component) await builders.structure.representation.addRepresentation(component, { type, ...look });
    }
  }

  function setVisible(index) {
    const hierarchy = viewer.plugin.managers.structure.hierarchy;
    const structure = hierarchy.current.structures[index]; // in the order they were added
    if (structure) hierarchy.toggleVisibility([structure], hidden.has(parts()[index].key) ? "hide" : "show");
  }

  async function draw() {
    const plugin = viewer.plugin;
    await plugin.clear();
    for (const part of parts()) await add(part);
    parts().forEach((_, index) => setVisible(index));
    paintBackground(viewer);
    plugin.managers.camera.reset(undefined, 0);
  }

  function next(step) {
    // One after the other: a second choice may come while the first is being drawn.
    loading = loading.then(() => viewer && step()).catch((error) => {
      warn(`The structures cannot be shown here (${error.message || error}): open their files in a molecular viewer.`);
    });
  }

  function writeLegend() {
    element("legend").replaceChildren(...parts().map((part, index) => {
      const item = document.createElement("li"), label = document.createElement("label");
      const box = document.createElement("input"), swatch = document.createElement("span");
      box.type = "checkbox";
      box.checked = !hidden.has(part.key);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(part.key); else hidden.add(part.key);
        next(() => setVisible(index));
      });
      swatch.className = "swatch";
      swatch.style.background = part.colour;
      label.append(box, swatch, part.label);
      item.append(label);
      return item;
    }));
  }

  entries.forEach((each) => {
    const kind = each.kind ? ` (${each.kind})` : "";
    element("entry").add(new Option(`${each.name}${kind} · ${score(each.quality)}`, each.name));
  });
  element("entry").addEventListener("change", () => {
    entry = entries[element("entry").selectedIndex];
    writeLegend();
    next(draw);
  });
  element("reset").addEventListener("click", () => viewer && viewer.plugin.managers.camera.reset());
  element("image").addEventListener("click", () => viewer && viewer.plugin.helpers.viewportScreenshot.download());
  dark.addEventListener("change", () => viewer && paintBackground(viewer));
  writeLegend();
  try {
    viewer = await openViewer("viewer");
  } catch (error) {
    warn(`The structure view needs WebGL, which this browser does not give (${error.message || error}).`);
    return;
  }
  next(draw);
}
