// Fills the element `place` with Mol*, which stands packed in the page, and returns the viewer; fails without WebGL.
async function openViewer(place) {
  const style = document.createElement("style"), script = document.createElement("script");
  style.textContent = await unpacked("data-viewer-style");
  script.textContent = await unpacked("data-viewer");
  document.head.append(style, script);
  element(place).replaceChildren();
  const viewer = await molstar.Viewer.create(element(place), {
    layoutIsExpanded: false, layoutShowControls: false, layoutShowRemoteState: false, layoutShowSequence: false,
    layoutShowLog: false, layoutShowLeftPanel: false, viewportShowExpand: false, viewportShowSelectionMode: false,
    viewportShowAnimation: false, viewportShowSettings: false, viewportShowControls: false, viewportShowTrajectoryControls: false,
    volumeStreamingDisabled: true, pdbProvider: "rcsb", emdbProvider: "rcsb",
  });
  paintBackground(viewer);
  return viewer;
}

function paintBackground(viewer) {
  if (!viewer.plugin.canvas3d) return;
  const backgroundColor = parseInt(variable("--card").slice(1), 16);
  viewer.plugin.canvas3d.setProps({ renderer: { ...viewer.plugin.canvas3d.props.renderer, backgroundColor } });
}
