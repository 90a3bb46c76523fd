
"use strict";
const at = id => document.getElementById(id);
const settings = document.body.dataset;
const canvas = at("canvas"), slider = at("threshold");
const colours = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
let entry = null, pixels = null, asked = 0;

slider.min = settings.lowest;
slider.value = settings.usual;
at("token-row").hidden = settings.token !== "true";

function say(text, bad) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", Boolean(bad));
}

function above() {
  return entry.detections.filter(one => one.score > Number(slider.value));
}

function show() {
  at("shown").textContent = Number(slider.value).toFixed(2);
  if (!entry) return;
  const found = above();
  canvas.width = entry.width;
  canvas.height = entry.height;
  const pen = canvas.getContext("2d"), unit = Math.max(entry.width, entry.height) / 700;
  if (pixels) pen.drawImage(pixels, 0, 0, entry.width, entry.height);
  pen.font = `${Math.max(10, 14 * unit)}px sans-serif`;
  pen.textBaseline = "top";
  for (const one of [...found].reverse()) {
    const [x1, y1, x2, y2] = one.box, colour = colours[one.label % colours.length];
    const text = `${one.name} ${one.score.toFixed(2)}`;
    pen.lineWidth = Math.max(1, 2 * unit);
    pen.strokeStyle = colour;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const height = Math.max(12, 18 * unit), top = Math.max(0, y1 - height);
    pen.fillStyle = colour;
    pen.fillRect(x1, top, pen.measureText(text).width + 4 * unit, height);
    pen.fillStyle = "#000";
    pen.fillText(text, x1 + 2 * unit, top + unit);
  }
  const counts = new Map();
  for (const one of found) counts.set(one.name, (counts.get(one.name) || 0) + 1);
  const kinds = [...counts].map(([name, count]) => `${count} × ${name}`).join(", ");
  const text = `${found.length} found in ${entry.width}x${entry.height} pixels${kinds && ": " + kinds}.`;
  say(text);
  canvas.setAttribute("aria-label", `The picture with boxes: ${text}`);
  canvas.hidden = false;
  at("table").hidden = !found.length;
  at("rows").replaceChildren(...found.map(one => {
    const row = document.createElement("tr");
    for (const cell of [one.name, one.score.toFixed(3), one.box.map(side => side.toFixed(1)).join(", ")])
      row.insertCell().textContent = cell;
    return row;
  }));
}

async function detect(file) {
  if (!file) return;
  const own = ++asked;
  say("Looking ...");
  const headers = {"Content-Type": file.type || "application/octet-stream"};
  if (at("token").value) headers.Authorization = `Bearer ${at("token").value.trim()}`;
  try {
    const answer = await fetch(`/v1/detect?score_threshold=${settings.lowest}`, {method: "POST", body: file, headers});
    const said = await answer.json();
    if (own !== asked) return;
    if (!answer.ok) {
      say(`It was refused: ${said.error}`, true);
      if (answer.status === 401) at("token").focus();
      return;
    }
    // a format that the browser cannot show has its boxes all the same
    const seen = await createImageBitmap(file).catch(() => null);
    if (own !== asked) return;
    [entry, pixels] = [said, seen];
    show();
  } catch (error) {
    if (own === asked) say(`The server does not answer (${error.message}).`, true);
  }
}

at("token-row").addEventListener("submit", event => event.preventDefault());
slider.addEventListener("input", show);
for (const id of ["file", "camera"]) at(id).addEventListener("change", event => {
  detect(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault();
  at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  if (kind === "drop") detect(event.dataTransfer.files[0]);
});
document.addEventListener("paste", event => detect(event.clipboardData.files[0]));
show();
