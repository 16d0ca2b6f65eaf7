// One step a gate: what it shows stays shown; the address keeps the place (#step=3).
const picture = document.querySelector("svg.graph");
const panel = document.getElementById("step");
const place = document.getElementById("place");
const byId = (id) => document.getElementById(id);
let current = 0;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function describe(step) {
  panel.replaceChildren(element("h2", step.title));
  if (step.text) panel.append(element("pre", step.text));
  if (step.rows.length) {
    const table = element("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const name of ["input", "upstream", "× local", "= downstream"]) head.append(element("th", name));
    for (const row of step.rows) {
      const line = body.insertRow();
      row.forEach((cell, i) => line.append(element("td", cell, i === 3 ? "down" : "")));
    }
    panel.append(table);
  }
  if (step.note) panel.append(element("p", step.note, "kicker"));
}

function go(to) {
  current = Math.max(0, Math.min(STEPS.length - 1, to));
  const shown = new Set(STEPS.slice(0, current + 1).flatMap((s) => s.show));
  for (const text of picture.querySelectorAll("text.v, text.g")) text.classList.toggle("shown", shown.has(text.id));
  for (const gate of picture.querySelectorAll(".now")) gate.classList.remove("now");
  const step = STEPS[current];
  if (step.gate) {
    byId(step.gate).classList.add("now");
    byId(step.gate).scrollIntoView({ block: "nearest", inline: "center" });
  }
  describe(step);
  place.value = current;
  byId("count").textContent = `${current} of ${STEPS.length - 1}`;
  byId("back").disabled = byId("first").disabled = current === 0;
  byId("next").disabled = byId("last").disabled = current === STEPS.length - 1;
  document.body.dataset.step = current;
  document.body.dataset.phase = step.phase;
  history.replaceState(null, "", `#step=${current}`);
}

const firstBackward = () => STEPS.findIndex((s) => s.phase === "backward");
const keys = {
  ArrowRight: () => go(current + 1), " ": () => go(current + 1), ArrowLeft: () => go(current - 1),
  Home: () => go(0), End: () => go(STEPS.length - 1), f: () => go(firstBackward()), F: () => go(firstBackward()),
};
addEventListener("keydown", (event) => {
  const own = event.target instanceof HTMLButtonElement && event.key === " "; // space presses the button
  if (own || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
byId("first").addEventListener("click", keys.Home);
byId("back").addEventListener("click", keys.ArrowLeft);
byId("next").addEventListener("click", keys.ArrowRight);
byId("last").addEventListener("click", keys.End);
place.addEventListener("input", () => go(Number(place.value)));
addEventListener("hashchange", fromAddress);
function fromAddress() {
  const asked = /^#step=(\d+)$/.exec(location.hash);
  go(asked ? Number(asked[1]) : 0);
}
picture.classList.add("stepping");
fromAddress();
