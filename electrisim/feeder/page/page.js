"use strict";

const session = new URLSearchParams(location.search).get("session") || "default";
const base = session === "default" ? "/feeder" : `/feeder/sessions/${encodeURIComponent(session)}`;

// The ends of the scale: ANSI C84.1, range A.
const LOWEST = 0.95, HIGHEST = 1.05;
const LOW = [33, 102, 172], MIDDLE = [236, 236, 232], HIGH = [178, 24, 43];

const shown = {at: null, bus: null, buses: new Map(), generators: [], places: new Map()};
const by = (id) => document.getElementById(id);

// -- asking ---------------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
  };
  const answer = await fetch(base + path, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.message);
  return told.results;
}

function say(text, wrong = false) {
  by("message").textContent = text;
  by("message").classList.toggle("wrong", wrong);
}

let working = Promise.resolve();

/** Make a modification after those before it, and show what came of it or why it was refused.

    `told` gives the body and what to say when it is done, of the state as it is then; or null. */
function modify(path, told) {
  working = working.then(() => modified(path, told));
}

async function modified(path, told) {
  const wanted = told();
  if (wanted === null) return;
  say("Solving …");
  document.body.setAttribute("aria-busy", "true");
  try {
    await ask(path, wanted.body);
    shown.at = null;
    await refresh();
    say(wanted.done);
  } catch (error) {
    await refresh().catch(() => {});
    say(error.message, true);
  } finally {
    document.body.removeAttribute("aria-busy");
  }
}

async function refresh() {
  const at = shown.at === null ? "" : `?at=${shown.at}`;
  const [state, listed, neighbourhoods, added, log] = await Promise.all([
    ask(`/state${at}`), ask(`/buses${at}`), ask(`/neighbourhoods${at}`), ask(`/additions${at}`),
    wholeLog(),
  ]);
  shown.generators = added.generators;
  showSummary(state);
  showFeeder(listed);
  showNeighbourhoods(neighbourhoods);
  showViolations(state.violations);
  showLog(log);
  showBus();
  for (const button of document.querySelectorAll("nav button, #generator button")) {
    button.disabled = shown.at !== null;
  }
}

async function wholeLog() {
  const {head} = await ask("/log?limit=1");
  const part = await ask(`/log?beyond=${Math.max(0, head - 200)}&limit=200`);
  return part.entries;
}

// -- showing --------------------------------------------------------------------------------------

function showSummary(state) {
  const {power_summary: power, voltage_profile: voltage, totals} = state;
  by("source").textContent = power.source_power_kW.toFixed(2);
  by("load").textContent = power.total_load_kW.toFixed(2);
  by("generation").textContent = totals.generation_kw.toFixed(2);
  by("losses").textContent = power.total_losses_kW.toFixed(2);
  by("voltages").textContent = [
    voltage.min_voltage_pu, voltage.avg_voltage_pu, voltage.max_voltage_pu,
  ].map((value) => value.toFixed(4)).join(" / ");
  const taps = Object.entries(state.regulators);
  by("regulators").textContent = taps.map(([, tap]) => tap).join("  ");
  by("regulators").title = taps.map(([name, tap]) => `${name}: ${tap}`).join("\n");
}

function make(name, attributes = {}, text) {
  const svg = ["svg", "g", "line", "circle", "path", "text", "title", "rect"].includes(name);
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** The colour of a voltage: blue at the low end, red at the high one. */
function colour(voltage) {
  const share = Math.min(1, Math.abs(voltage - 1) / (HIGHEST - 1));
  const end = voltage < 1 ? LOW : HIGH;
  return `rgb(${MIDDLE.map((from, i) => Math.round(from + share * (end[i] - from))).join(", ")})`;
}

/** Of a bus's nodes the voltage furthest from 1. */
function furthest(bus) {
  return bus.nodes.map((node) => node.VMag_pu)
    .reduce((far, v) => (far === null || Math.abs(v - 1) > Math.abs(far - 1) ? v : far), null);
}

/** Where buses are drawn: in a box of 1000 by 700, of which a narrow feeder is stretched twofold to
    fill more. Those at one place stand side by side, with their names below. */
function placed(buses) {
  const drawn = buses.filter((bus) => bus.x !== null && bus.y !== null);
  const xs = drawn.map((bus) => bus.x), ys = drawn.map((bus) => bus.y);
  const left = Math.min(...xs), top = Math.max(...ys);
  const wide = 1000 / (Math.max(...xs) - left), high = 700 / (top - Math.min(...ys));
  const across = Math.min(wide, 2 * high), down = Math.min(high, 2 * wide);
  const places = new Map();
  for (const bus of drawn) {
    let x = (bus.x - left) * across, beside = false;
    const y = (top - bus.y) * down;
    while ([...places.values()].some((other) => Math.hypot(other.x - x, other.y - y) < 7)) {
      x += 15;
      beside = true;
    }
    places.set(bus.bus, {x, y, beside});
  }
  return places;
}

function showFeeder({buses, branches}) {
  shown.buses = new Map(buses.map((bus) => [bus.bus, bus]));
  const focused = document.activeElement?.getAttribute?.("data-bus");
  const places = placed(buses), drawing = by("feeder");
  const points = [...places.values()];
  const width = Math.max(...points.map((p) => p.x)), height = Math.max(...points.map((p) => p.y));
  const margin = Math.max(0, (1000 - width) / 2);
  drawing.setAttribute("viewBox", `${-25 - margin} -20 ${width + 2 * margin + 60} ${height + 40}`);
  drawing.replaceChildren();
  for (const branch of branches) {
    const from = places.get(branch.from_bus), to = places.get(branch.to_bus);
    if (!from || !to) continue;
    const line = make("line", {
      x1: from.x, y1: from.y, x2: to.x, y2: to.y,
      class: `${branch.typ}${branch.closed ? "" : " open"}`,
      "stroke-width": branch.phases.length === 3 ? 3 : 1.5,
    });
    line.append(make("title", {}, `${branch.typ} ${branch.name}, ${branch.phases}`));
    drawing.append(line);
  }
  const generating = new Set(shown.generators.map((generator) => generator.bus));
  for (const [name, place] of places) {
    drawing.append(drawnBus(shown.buses.get(name), place, generating.has(name)));
  }
  if (focused) drawing.querySelector(`[data-bus="${CSS.escape(focused)}"]`)?.focus();
}

function drawnBus(bus, {x, y, beside}, generates) {
  const voltage = furthest(bus);
  const group = make("g", {
    class: "bus", tabindex: 0, role: "button", "data-bus": bus.bus,
    transform: `translate(${x} ${y})`,
    "aria-label": voltage === null ? `Bus ${bus.bus}, dead` : `Bus ${bus.bus}, ${voltage.toFixed(4)} pu`,
  });
  group.classList.toggle("dead", voltage === null);
  group.classList.toggle("beyond", voltage !== null && (voltage < LOWEST || voltage > HIGHEST));
  group.classList.toggle("chosen", bus.bus === shown.bus);
  const mark = generates
    ? make("path", {d: "M0 -8 L7.5 6 L-7.5 6 Z", class: "mark"})
    : make("circle", {r: 6, class: "mark"});
  if (voltage !== null) {
    group.setAttribute("data-vm", voltage);
    mark.setAttribute("fill", colour(voltage));
  }
  const numbers = bus.nodes.map((n) => `${"ABC"[n.Node - 1]} ${n.VMag_pu.toFixed(4)} pu`).join("\n");
  group.append(mark, make("text", {x: beside ? 3 : 8, y: beside ? 17 : -5}, bus.bus), make("title", {}, `${bus.bus}\n${numbers}`));
  group.addEventListener("click", () => choose(bus.bus));
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(bus.bus);
    }
  });
  return group;
}

function choose(name) {
  shown.bus = name;
  for (const group of by("feeder").querySelectorAll(".bus")) {
    group.classList.toggle("chosen", group.getAttribute("data-bus") === name);
  }
  showBus();
}

function showBus() {
  const bus = shown.buses.get(shown.bus);
  by("hint").hidden = Boolean(bus);
  by("chosen").hidden = !bus;
  if (!bus) return;
  by("bus-title").textContent = `Bus ${bus.bus}`;
  const where = bus.neighbourhood === null ? "in no neighbourhood" : `neighbourhood ${bus.neighbourhood}`;
  by("about").textContent = `${bus.base_kv} kV, phases ${bus.phases}, ${where}`;
  by("nodes").replaceChildren(...bus.nodes.map((node) => {
    const row = make("tr");
    row.append(
      make("td", {}, "ABC"[node.Node - 1]), make("td", {}, node.VMag_pu.toFixed(4)),
      make("td", {}, node.Load_kW.toFixed(1)), make("td", {}, node.Gen_kW.toFixed(1)),
    );
    return row;
  }));
  const choices = bus.phases.length === 3 ? [1, 3] : [1];
  if (by("phases").dataset.bus !== bus.bus) {
    by("phases").replaceChildren(...choices.map((count) => make("option", {value: count}, count)));
    by("phases").value = choices.at(-1);
    by("phases").dataset.bus = bus.bus;
  }
  const here = shown.generators.filter((generator) => generator.bus === bus.bus);
  by("here").replaceChildren(...here.map((generator) => {
    const row = make("li"), remove = make("button", {type: "button"}, "Remove");
    remove.disabled = shown.at !== null;
    remove.addEventListener("click", () => modify("/remove_generator", () => ({
      body: {bus_name: generator.bus, phases: generator.phases},
      done: `The generator at bus ${generator.bus} is gone.`,
    })));
    const phases = generator.phases === 3 ? "three phases" : "one phase";
    row.append(make("span", {}, `Generator, ${phases}: ${generator.kw} kW`), remove);
    return row;
  }));
}

function showNeighbourhoods(listed) {
  const rows = by("sliders");
  if (rows.children.length !== listed.length) {
    rows.replaceChildren(...listed.map((each) => madeSlider(each)));
  }
  for (const each of listed) {
    const slider = by(`hood-${each.neighbourhood}`);
    slider.dataset.factor = each.factor;
    // One that has been moved on meanwhile stays where it is.
    if (slider.dataset.wanted === undefined) slider.value = each.factor;
    // A product that became 0 stays 0, whatever it is multiplied with.
    slider.disabled = shown.at !== null || each.factor === 0;
    slider.title = each.factor === 0 ? "Only undo or reset brings a load back that was made 0." : "";
    by(`hood-${each.neighbourhood}-kw`).textContent = `${each.load_kW.toFixed(0)} kW, ${percent(each.factor)}`;
  }
}

function percent(factor) {
  return `${(100 * factor).toFixed(0)} %`;
}

function madeSlider(each) {
  const number = each.neighbourhood, row = make("li"), id = `hood-${number}`;
  const label = make("label", {for: id}, `${number}`);
  const slider = make("input", {
    type: "range", id, min: 0, max: 2, step: 0.05, "data-neighbourhood": number,
    "aria-label": `Load of neighbourhood ${number}`,
  });
  if (each.rated_kW === 0) row.hidden = true;
  slider.addEventListener("input", () => {
    by(`${id}-kw`).textContent = percent(Number(slider.value));
  });
  slider.addEventListener("change", () => {
    slider.dataset.wanted = slider.value;
    modify("/modify_load_neighbourhood", () => scaled(number, slider));
  });
  row.append(label, slider, make("span", {class: "kw", id: `${id}-kw`}));
  return row;
}

/** Factors compound, so that what is sent is the way from the present factor to the wanted one. */
function scaled(number, slider) {
  if (slider.dataset.wanted === undefined) return null;
  const wanted = Number(slider.dataset.wanted), present = Number(slider.dataset.factor);
  delete slider.dataset.wanted;
  return {
    body: {neighbourhood: number, factor: wanted / present},
    done: `Neighbourhood ${number} is at ${percent(wanted)} of its rated load.`,
  };
}

function showViolations(violations) {
  by("violations-count").textContent = violations.length || "none";
  by("violations").replaceChildren(...violations.map((each) => {
    const what = each.quantity === "vm_pu"
      ? `Bus ${each.element} ${"ABC"[each.node - 1]}: ${each.value.toFixed(4)} pu`
      : `${each.element}: ${each.value.toFixed(1)} %`;
    return make("li", {}, `${what} (${each.severity})`);
  }));
}

function showLog(entries) {
  by("then").hidden = shown.at === null;
  by("then-text").textContent = `As it was after ${shown.at}.`;
  by("log").replaceChildren(...entries.toReversed().map((entry) => {
    const row = make("li"), button = make("button", {type: "button", title: entry.at});
    const told = Object.values(entry.payload).filter((value) => value !== null).map(written);
    button.append(
      make("span", {class: "seq"}, `${entry.seq} `),
      make("span", {class: "told"}, [entry.kind.replaceAll("_", " "), ...told].join(" · ")),
    );
    button.setAttribute("aria-current", String(entry.seq === shown.at));
    button.addEventListener("click", () => look(entry.seq));
    row.append(button);
    return row;
  }));
}

function written(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

async function look(at) {
  shown.at = at;
  try {
    await refresh();
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

// -- beginning ------------------------------------------------------------------------------------

for (const [step, done] of [
  ["undo", "Taken back."],
  ["redo", "Done again."],
  ["reset", "The feeder is as it came; undo takes that back."],
]) {
  by(step).addEventListener("click", () => modify(`/${step}`, () => ({body: {}, done})));
}
by("now").addEventListener("click", () => look(null));
by("generator").addEventListener("submit", (event) => {
  event.preventDefault();
  const kw = Number(by("kw").value), phases = Number(by("phases").value), bus = shown.bus;
  modify("/add_generator", () => ({
    body: {bus_name: bus, phases, kw}, done: `Bus ${bus} generates ${kw} kW.`,
  }));
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && shown.at === null) look(null);
});

by("lowest").textContent = LOWEST.toFixed(2);
by("highest").textContent = HIGHEST.toFixed(2);
for (let i = 0; i < 50; i += 1) {
  const voltage = LOWEST + (i + 0.5) / 50 * (HIGHEST - LOWEST);
  by("scale").append(make("rect", {x: 2 * i, y: 0, width: 2, height: 6, fill: colour(voltage)}));
}

async function begin() {
  await look(null);
  const answer = await fetch(`/feeder/sessions/${encodeURIComponent(session)}`);
  if (!answer.ok) return;
  const {results: {feeder}} = await answer.json();
  const name = `IEEE ${feeder.replace("ieee", "")}-node feeder`;
  by("title").textContent = session === "default" ? name : `${name}, ${session}`;
  document.title = by("title").textContent;
}

begin().finally(() => document.body.setAttribute("data-ready", "true"));
