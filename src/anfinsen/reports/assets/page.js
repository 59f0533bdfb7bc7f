"use strict";
// What the scripts of all pages share.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const config = { responsive: true, displayModeBar: false };
const axis = (title, extra) => ({
  title: { text: title, standoff: 8 }, gridcolor: variable("--line"), zeroline: false, linecolor: variable("--line"), ...extra,
});

function pixels(text, size, scale) {
  // A square map that came as one byte a pixel, row by row, each ``scale`` times the value.
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Array.from({ length: size }, (_, row) => Array.from(bytes.subarray(row * size, (row + 1) * size), (value) => value / scale));
}

async function unpacked(id) {
  const holder = element(id);
  const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
  holder.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

