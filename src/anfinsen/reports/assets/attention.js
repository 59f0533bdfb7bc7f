// Runs inside attention.html: unpacks the maps that stand in the page and draws those that are asked for.
(() => {
  let data, shownHead = 0;

  const make = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const svg = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const number = (value) => (value === null ? "–" : value.toFixed(3));
  // Long names may break after their dots.
  const breakable = (text) => text.split(/(?<=\.)/).flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part]));
  const nameOf = (head) => `${data.layers[head.layer].label}, head ${head.head}`;
  const channels = (name) => {
    const hex = variable(name).slice(1);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  };
  const mixed = (share) => {
    const from = channels("--card"), to = channels("--realised-likely");
    return from.map((value, at) => Math.round(value + share * (to[at] - value)));
  };

  function mapOf(picture, label, readout) {
    // A square map with chain borders; pointing at it tells which tokens and how much.
    const shades = bytes(picture.bytes), { size, most } = picture;
    const canvas = make("canvas", { width: size, height: size });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    const context = canvas.getContext("2d"), image = context.createImageData(size, size);
    const palette = Array.from({ length: 256 }, (_, shade) => mixed(shade / 255));
    shades.forEach((shade, at) => { image.data.set([...palette[shade], 255], 4 * at); });
    context.putImageData(image, 0, 0);
    const holder = make("div", { className: "map" }, canvas);
    data.borders.forEach((border) => {
      const down = make("i", { className: "down" }), across = make("i", { className: "across" });
      down.style.left = across.style.top = `${100 * border}%`;
      holder.append(down, across);
    });
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), n = data.names.length;
      const place = (at, length) => Math.min(Math.max(Math.floor((at / length) * size), 0), size - 1);
      const row = place(event.clientY - box.top, box.height), column = place(event.clientX - box.left, box.width);
      const token = (at) => data.names[Math.min(Math.floor(((at + 0.5) / size) * n), n - 1)];
      const value = most * (shades[row * size + column] / 255) ** 2;
      readout.textContent = `${label}: ${token(row)} → ${token(column)}: ${value.toPrecision(2)}`;
    });
    return holder;
  }

  function drawRanking() {
    const ranking = data.rankings[element("ranking").value], readout = element("ranked-readout");
    const score = data.scores[ranking.score];
    element("ranking-hint").textContent = `Ranked by ${score.label}: ${score.meaning}.`;
    const figures = [make("figure", {}, mapOf(data.contacts, "contacts", readout), make("figcaption", {}, "contacts"))];
    ranking.heads.forEach((index, place) => {
      const head = data.heads[index];
      const open = make("button", { className: "open", type: "button" }, ...breakable(nameOf(head)));
      open.addEventListener("click", () => { chooseHead(index); element("head").scrollIntoView(); });
      const caption = make("figcaption", {}, `${place + 1}. `, open, make("br"), `${score.label} ${number(head.scores[ranking.score])}`);
      const map = head.map ? mapOf(head.map, nameOf(head), readout)
        : make("p", { className: "hint" }, "Its keys are rows of the alignment: no map of tokens.");
      figures.push(make("figure", {}, map, caption));
    });
    element("maps").replaceChildren(...figures);
  }

  function drawAll() {
    const key = element("score").value, score = data.scores[key];
    element("score-hint").textContent = `${score.label}: ${score.meaning}.`;
    const values = data.heads.map((head) => head.scores[key]).filter((value) => value !== null);
    const least = Math.min(...values), most = Math.max(...values), range = most - least || 1;
    element("least").textContent = values.length ? number(least) : "";
    element("most").textContent = values.length ? number(most) : "no head has it";
    document.querySelector(".scale b").style.background = `linear-gradient(90deg, rgb(${mixed(0)}), rgb(${mixed(1)}))`;
    const rows = data.layers.map((layer, at) => {
      const cells = make("div", { className: "cells" });
      data.heads.forEach((head, index) => {
        if (head.layer !== at) return;
        const value = head.scores[key];
        const cell = make("button", { type: "button", title: `${nameOf(head)}: ${number(value)}` });
        cell.setAttribute("aria-label", cell.title);
        cell.setAttribute("aria-pressed", String(index === shownHead));
        cell.dataset.head = index;
        if (value === null) cell.disabled = true;
        else cell.style.background = `rgb(${mixed((value - least) / range)})`;
        cell.addEventListener("click", () => chooseHead(index));
        cells.append(cell);
      });
      return make("div", { className: "layer" }, make("span", { title: layer.kind }, ...breakable(layer.label)), cells);
    });
    element("layers").replaceChildren(...rows);
  }

  function scatter(x, y, across) {
    // Gates of one head against a number of each token.
    const [width, height, left, bottom] = [320, 240, 36, 34];
    const low = Math.min(...x), high = Math.max(...x), span = high - low || 1;
    const at = (value) => left + 8 + ((value - low) / span) * (width - left - 20);
    const up = (value) => height - bottom - value * (height - bottom - 10);
    const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `gates against ${across}` });
    drawn.append(svg("path", { class: "axis", d: `M${left} 8V${height - bottom}H${width - 6}` }));
    [0, 0.5, 1].forEach((tick) => drawn.append(svg("text", { x: left - 6, y: up(tick) + 4, "text-anchor": "end" }, tick)));
    drawn.append(svg("text", { x: at(low), y: height - bottom + 14, "text-anchor": "middle" }, Math.round(low)));
    if (high > low) drawn.append(svg("text", { x: at(high), y: height - bottom + 14, "text-anchor": "end" }, Math.round(high)));
    drawn.append(svg("text", { x: (width + left) / 2, y: height - 4, "text-anchor": "middle" }, across));
    x.forEach((value, index) => {
      const point = svg("circle", { cx: at(value).toFixed(1), cy: up(y[index]).toFixed(1), r: 3 });
      point.append(svg("title", {}, `${data.names[index]}: ${value}, gate ${y[index].toFixed(2)}`));
      drawn.append(point);
    });
    return drawn;
  }

  function bars(head) {
    const labels = data.separations.map((label) => `${label} apart`), shares = [...head.bins];
    if (head.scores.cross_chain !== null) { labels.push("other chains"); shares.push(head.scores.cross_chain); }
    const holder = make("div", { className: "bars" });
    labels.forEach((label, at) => {
      const bar = make("b");
      bar.style.width = `${Math.max(100 * shares[at], 0.5)}%`;
      holder.append(make("span", {}, label), make("span", {}, bar), make("span", {}, `${(100 * shares[at]).toFixed(1)} %`));
      bar.style.display = "block";
    });
    return holder;
  }

  function chooseHead(index) {
    shownHead = index;
    document.querySelectorAll(".cells button").forEach((cell) => {
      cell.setAttribute("aria-pressed", String(Number(cell.dataset.head) === index));
    });
    const head = data.heads[index], readout = element("head-readout");
    element("head-title").textContent = `One head: ${nameOf(head)}`;
    element("head-kind").textContent = data.layers[head.layer].kind;
    readout.textContent = "";
    const figures = [];
    if (head.map) {
      figures.push(
        make("figure", {}, mapOf(head.map, nameOf(head), readout), make("figcaption", {}, "its mean attention")),
        make("figure", {}, mapOf(data.contacts, "contacts", readout), make("figcaption", {}, "contacts")),
        make("figure", {}, bars(head), make("figcaption", {}, "where its attention goes, by residues along the chain")),
      );
    } else {
      figures.push(make("p", { className: "hint" }, "Its keys are rows of the alignment: no map of tokens."));
    }
    element("one").replaceChildren(...figures);
    if (head.gates) {
      const gates = Array.from(bytes(head.gates), (value) => value / 255);
      element("gates").replaceChildren(
        make("figure", {}, scatter(data.depth, gates, "alignment rows at the token")),
        make("figure", {}, scatter(data.plddt, gates, "pLDDT of the token")),
      );
    } else {
      element("gates").replaceChildren(make("p", { className: "hint" }, "This attention has no gates."));
    }
    const rows = Object.entries(data.scores).map(([key, score]) => {
      const values = data.heads.map((each) => each.scores[key]).filter((value) => value !== null);
      const value = head.scores[key];
      const place = value === null ? "–" : `${values.filter((other) => other > value).length + 1} of ${values.length}`;
      return make("tr", {}, make("td", { className: "text" }, score.label), make("td", {}, number(value)), make("td", {}, place));
    });
    document.querySelector("#numbers tbody").replaceChildren(...rows);
  }

  async function start() {
    data = JSON.parse(await unpacked("data-attention"));
    data.rankings.forEach((ranking, at) => { if (ranking.heads.length) element("ranking").add(new Option(ranking.title, at)); });
    Object.entries(data.scores).forEach(([key, score]) => element("score").add(new Option(score.label, key)));
    shownHead = (data.rankings.find((ranking) => ranking.heads.length) || { heads: [0] }).heads[0];
    const draw = () => { drawRanking(); drawAll(); chooseHead(shownHead); };
    element("ranking").addEventListener("change", drawRanking);
    element("score").addEventListener("change", drawAll);
    dark.addEventListener("change", draw);
    draw();
  }

  start().catch((error) => {
    element("ranked").prepend(make("p", { className: "warning" }, `This page could not be drawn whole: ${error.message}. The tables are.`));
  });
})();
