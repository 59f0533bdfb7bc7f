// The page of `anfinsen image`: one slider through the steps of a picture's diffusion and of AlphaFold 3's.
const FRAME_MS = 110, TURN = 0.12, GAP = 2;
const ELEMENTS = { 6: "#8b93a0", 7: "#3f7fe0", 8: "#e0483f", 12: "#3fae5a", 15: "#f08a24", 16: "#d9b40f" };

const raw = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const level = (value) => (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : value === 0 ? "0" : value.toPrecision(2));

// ---- pictures ----

function pictureSide(stages, sigmaData) {
  let stage = null, clean = null, noisy = null;

  function paint(canvas, bytes, frame) {
    const { size, pictures } = stage, columns = Math.ceil(Math.sqrt(pictures)), rows = Math.ceil(pictures / columns);
    const width = columns * (size + GAP) - GAP, height = rows * (size + GAP) - GAP;
    canvas.width = width;
    canvas.height = height;
    canvas.style.aspectRatio = `${width} / ${height}`;
    const context = canvas.getContext("2d"), each = size * size * 3;
    for (let picture = 0; picture < pictures; picture += 1) {
      const image = context.createImageData(size, size), start = (frame * pictures + picture) * each;
      for (let pixel = 0; pixel < size * size; pixel += 1) {
        for (let channel = 0; channel < 3; channel += 1) image.data[4 * pixel + channel] = bytes[start + 3 * pixel + channel];
        image.data[4 * pixel + 3] = 255;
      }
      context.putImageData(image, (picture % columns) * (size + GAP), Math.floor(picture / columns) * (size + GAP));
    }
  }

  return {
    choose(index) {
      stage = stages[index];
      clean = raw(stage.clean);
      noisy = stage.noisy === null ? null : raw(stage.noisy);
      element("noisy-picture-figure").hidden = noisy === null;
      element("picture-views").classList.toggle("one", noisy === null);
      if (noisy === null) element("clean-picture-name").textContent = "the codes so far, painted";
    },
    frames: () => stage.sigma.length,
    levels: () => (noisy === null ? [] : stage.sigma.map((sigma) => sigma / sigmaData)),
    show(frame) {
      paint(element("clean-picture"), clean, frame);
      if (noisy) paint(element("noisy-picture"), noisy, frame);
      element("picture-level").textContent = noisy === null
        ? `row ${frame + 1} of ${stage.of}`
        : stage.sigma[frame] === 0 ? `the end, after ${stage.of} steps` : `step ${stage.step[frame] + 1} of ${stage.of}, σ = ${level(stage.sigma[frame])}`;
    },
  };
}

// ---- atoms ----

function atomSide(atoms) {
  const points = atoms.names.length, coordinates = 3 * points, frames = atoms.sigma.length;
  const whole = new Int16Array(raw(atoms.clean).buffer), noise = new Int8Array(raw(atoms.noise).buffer);
  const last = whole.subarray((frames - 1) * coordinates).map((value) => value);
  let reach = 1.7 * atoms.sigma_data, yaw = 0.6, pitch = -0.3, shown = 0;
  for (let point = 0; point < points; point += 1) {
    reach = Math.max(reach, Math.hypot(last[3 * point], last[3 * point + 1], last[3 * point + 2]) * atoms.clean_unit);
  }
  const polymers = atoms.polymer.filter(Boolean).length;
  let residue = 0;
  const colours = atoms.polymer.map((polymer, point) => {
    if (!polymer) return ELEMENTS[atoms.element[point]] || "#b06fd0";
    residue += 1;
    return `hsl(${(250 * (1 - residue / Math.max(polymers, 1))).toFixed(0)} 70% 52%)`;
  });

  function place(frame, withNoise) {
    const sigma = atoms.sigma[frame], scale = withNoise ? 1 / Math.sqrt(1 + (sigma / atoms.sigma_data) ** 2) : 1;
    const found = new Float64Array(coordinates);
    for (let index = 0; index < coordinates; index += 1) {
      const at = frame * coordinates + index;
      found[index] = scale * (whole[at] * atoms.clean_unit + (withNoise ? sigma * noise[at] * atoms.noise_unit : 0));
    }
    return found;
  }

  function draw(canvas, found, firm) {
    const side = canvas.clientWidth || 300, dense = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * dense);
    const context = canvas.getContext("2d"), scale = (0.46 * side) / reach;
    context.scale(dense, dense);
    context.clearRect(0, 0, side, side);
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const seen = Array.from({ length: points }, (_, point) => {
      const [x, y, z] = found.subarray(3 * point, 3 * point + 3), depth = cy * z - sy * x;
      return { x: side / 2 + scale * (cy * x + sy * z), y: side / 2 - scale * (cp * y - sp * depth), z: sp * y + cp * depth };
    });
    const things = [];
    const near = (z) => 0.35 + 0.65 * Math.min(1, Math.max(0, 0.5 + z / (2 * reach)));
    if (firm > 0.03) {
      for (let index = 0; index < atoms.links.length; index += 2) {
        const [a, b] = [atoms.links[index], atoms.links[index + 1]];
        things.push({ z: (seen[a].z + seen[b].z) / 2, a, b });
      }
    }
    seen.forEach((each, point) => things.push({ z: each.z, point }));
    things.sort((one, two) => one.z - two.z);
    context.lineCap = "round";
    for (const thing of things) {
      if (thing.point === undefined) {
        const { a, b } = thing;
        context.globalAlpha = firm * near(thing.z);
        context.strokeStyle = colours[a];
        context.lineWidth = atoms.polymer[a] ? 3.2 : 2;
        context.beginPath();
        context.moveTo(seen[a].x, seen[a].y);
        context.lineTo(seen[b].x, seen[b].y);
        context.stroke();
      } else {
        const each = seen[thing.point];
        context.globalAlpha = near(thing.z);
        context.fillStyle = colours[thing.point];
        context.beginPath();
        context.arc(each.x, each.y, atoms.polymer[thing.point] ? 2 : 3.4, 0, 2 * Math.PI);
        context.fill();
      }
    }
  }

  function show(frame) {
    shown = frame;
    const sigma = atoms.sigma[frame] / atoms.sigma_data;
    draw(element("clean-atoms"), place(frame, false), 1);
    draw(element("noisy-atoms"), place(frame, true), 1 / (1 + sigma * sigma)); // a chain cannot be followed through noise
    element("atom-level").textContent = atoms.sigma[frame] === 0
      ? `the end, after ${atoms.steps} steps`
      : `step ${atoms.step[frame] + 1} of ${atoms.steps}, σ = ${level(atoms.sigma[frame])} Å`;
  }

  function turn(across, down) {
    yaw += across;
    pitch = Math.max(-1.57, Math.min(1.57, pitch + down));
    show(shown);
  }

  ["noisy-atoms", "clean-atoms"].forEach((id) => {
    const canvas = element(id);
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("held");
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      turn((event.clientX - held[0]) * 0.01, (event.clientY - held[1]) * 0.01);
      held = [event.clientX, event.clientY];
    });
    ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => {
      held = null;
      canvas.classList.remove("held");
    }));
    canvas.addEventListener("keydown", (event) => {
      const turns = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, -TURN], ArrowDown: [0, TURN] }[event.key];
      if (!turns) return;
      event.preventDefault();
      turn(...turns);
    });
  });
  return { show, frames: () => frames, again: () => show(shown), levels: () => atoms.sigma.map((sigma) => sigma / atoms.sigma_data) };
}

// ---- the noise levels of both, on one logarithmic scale ----

function levelPlot(curves) {
  const svg = element("levels-plot"), width = svg.clientWidth || 800, height = 190, left = 54, bottom = 30, top = 10, right = 8;
  const values = curves.flatMap((curve) => curve.values.filter((value) => value > 0));
  const low = Math.floor(Math.log10(Math.min(...values))), high = Math.ceil(Math.log10(Math.max(...values)));
  const x = (share) => left + share * (width - left - right);
  const y = (value) => top + ((high - Math.log10(value)) / Math.max(high - low, 1)) * (height - top - bottom);
  const make = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    if (text !== undefined) made.textContent = text;
    return made;
  };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const parts = [];
  for (let power = low; power <= high; power += 1) {
    parts.push(make("line", { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), stroke: "var(--line)" }));
    if ((high - power) % 2 === 0) parts.push(make("text", { x: left - 8, y: y(10 ** power) + 4, "text-anchor": "end" }, `${Number((10 ** power).toPrecision(1))}`));
  }
  parts.push(make("text", { x: left, y: height - 8 }, "first step"), make("text", { x: width - right, y: height - 8, "text-anchor": "end" }, "last step"));
  curves.forEach((curve) => {
    const places = curve.values.map((value, index) => [x(index / Math.max(curve.values.length - 1, 1)), value]).filter(([, value]) => value > 0);
    const path = places.map(([across, value], index) => `${index ? "L" : "M"}${across.toFixed(1)} ${y(value).toFixed(1)}`).join("");
    parts.push(make("path", { d: path, fill: "none", stroke: curve.colour, "stroke-width": 2 }));
  });
  const mark = make("line", { y1: top, y2: height - bottom, stroke: "var(--soft)", "stroke-dasharray": "4 3" });
  svg.replaceChildren(...parts, mark);
  element("levels-legend").replaceChildren(...curves.map((curve) => {
    const item = document.createElement("li"), swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = curve.colour;
    item.append(swatch, curve.name);
    return item;
  }));
  return (share) => { mark.setAttribute("x1", x(share)); mark.setAttribute("x2", x(share)); };
}

// ---- the slider ----

(async () => {
  const report = JSON.parse(await unpacked("data-report"));
  const pictures = pictureSide(report.stages, report.sigmaData), atoms = atomSide(report.atoms);
  let length = 1, playing = null, mark = () => {};

  function show(place) {
    const share = place / Math.max(length - 1, 1);
    element("frame").value = place;
    element("frame-step").textContent = `${Math.round(100 * share)} % of the steps`;
    pictures.show(Math.round(share * (pictures.frames() - 1)));
    atoms.show(Math.round(share * (atoms.frames() - 1)));
    mark(share);
  }

  function plot() {
    const curves = [{ name: "AlphaFold 3's atoms", colour: "var(--very-low)", values: atoms.levels() }];
    if (pictures.levels().length) curves.unshift({ name: "pictures", colour: "var(--accent)", values: pictures.levels() });
    mark = levelPlot(curves);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    element("play").textContent = "Play";
  }

  function choose(index) {
    pictures.choose(index);
    length = Math.max(pictures.frames(), atoms.frames());
    element("frame").max = length - 1;
    plot();
    show(length - 1);
  }

  element("play").addEventListener("click", () => {
    if (playing) { stop(); return; }
    let place = Number(element("frame").value);
    if (place >= length - 1) place = -1;
    element("play").textContent = "Pause";
    playing = setInterval(() => {
      place += 1;
      show(place);
      if (place >= length - 1) stop();
    }, FRAME_MS);
  });
  element("frame").addEventListener("input", (event) => { stop(); show(Number(event.target.value)); });
  element("stage").addEventListener("change", (event) => { stop(); choose(Number(event.target.value)); });
  element("stage-label").hidden = report.stages.length < 2;
  window.addEventListener("resize", () => { plot(); show(Number(element("frame").value)); });
  choose(0);
  // Half of the way shows most: noise is going, and shape is coming.
  show(Math.round(0.55 * (length - 1)));
})();
