const session = new URLSearchParams(location.search).get("session") || "default";
const base = session === "default" ? "/feeder" : `/feeder/sessions/${encodeURIComponent(session)}`;

/** What the page shows: at which entry of the log, or null for now; and what was added by then. */
const shown = {at: null, bus: null, buses: new Map(), added: null};
const by = (id) => document.getElementById(id);

// -- asking ---------------------------------------------------------------------------------------

async function asked(address, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
  };
  const answer = await fetch(address, options).catch(() => {
    throw new Error("The server does not answer.");
  });
  const told = await answer.json().catch(() => {
    throw new Error(`The server answers with ${answer.status} and nothing that can be read.`);
  });
  if (!answer.ok) throw new Error(told.message);
  return {results: told.results, seq: answer.headers.get("Log-Seq")};
}

const ask = (path, body) => asked(base + path, body);

function say(text, wrong = false) {
  by("message").textContent = text;
  by("message").classList.toggle("wrong", wrong);
}

let working = Promise.resolve();

/** Do things one after another; where one fails, say why, and show the session as it is. */
function next(work) {
  working = working.then(async () => {
    document.body.setAttribute("aria-busy", "true");
    try {
      say(await work());
    } catch (error) {
      await refresh().catch(() => {});
      say(error.message, true);
    } finally {
      document.body.removeAttribute("aria-busy");
    }
  });
  return working;
}

/** Make a modification, and show what came of it or why it was refused.

    `told` gives the body and what to say when it is done, of the state as it is then; or null. */
function modify(path, told) {
  return next(async () => {
    const wanted = told();
    if (wanted === null) return by("message").textContent;
    say("Solving …");
    await ask(path, wanted.body);
    shown.at = null;
    await refresh();
    return wanted.done;
  });
}

/** Show a point of the log, or with null how it is now. */
function look(at) {
  return next(async () => {
    shown.at = at;
    await refresh();
    return "";
  });
}

async function refresh() {
  const [state, listed, neighbourhoods, added] = await together(
    ["/state", "/buses", "/neighbourhoods", "/additions"],
  );
  const log = await wholeLog();
  Object.assign(shown, {added, buses: new Map(listed.buses.map((bus) => [bus.bus, bus]))});
  drawing.buses = listed.buses;
  drawing.branches = listed.branches;
  drawing.source = listed.source;
  drawing.generating = new Set(added.generators.map((generator) => generator.bus));
  showSummary(state);
  draw();
  showNeighbourhoods(neighbourhoods);
  showViolations(state.violations);
  showLog(log);
  showBus();
  for (const button of document.querySelectorAll("nav button, #generator button")) {
    button.disabled = shown.at !== null;
  }
}

/** What several addresses answer of one and the same point of the log. */
async function together(paths) {
  const at = shown.at === null ? "" : `?at=${shown.at}`;
  for (let tries = 0; tries < 8; tries += 1) {
    const answers = await Promise.all(paths.map((path) => ask(path + at)));
    // Others may have changed the session between the first answer and the last.
    if (new Set(answers.map(({seq}) => seq)).size === 1) return answers.map(({results}) => results);
  }
  throw new Error("Others change the session all the time; please try again.");
}

async function wholeLog() {
  const {results: {head}} = await ask("/log?limit=1");
  const {results} = await ask(`/log?beyond=${Math.max(0, head - 200)}&limit=200`);
  return results.entries;
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
  const most = state.transformers.reduce((a, b) => (b.loading_percent > a.loading_percent ? b : a));
  by("loaded").textContent = most.name;
  by("loading").textContent = most.loading_percent.toFixed(1);
  by("loading").className = most.status === "ok" ? "" : "severe";
  by("regulators").replaceChildren(...Object.entries(state.regulators).map(([name, tap]) => {
    const row = make("li"), ends = Math.abs(tap) === 16;
    row.title = ends ? `${name} stands at its end` : name;
    row.append(
      make("span", {class: "name"}, name),
      make("span", {class: ends ? "tap end" : "tap"}, tap > 0 ? `+${tap}` : String(tap).replace("-", "−")),
    );
    return row;
  }));
}

function choose(name) {
  shown.bus = name;
  drawing.chosen = name;
  draw();
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
    const cells = [
      "ABC"[node.Node - 1], node.VMag_pu.toFixed(4), node.VAngle.toFixed(2),
      node.Load_kW.toFixed(1), node.Load_kVAR.toFixed(1), node.Gen_kW.toFixed(1),
    ];
    row.append(...cells.map((cell) => make("td", {}, cell)));
    return row;
  }));
  const choices = bus.phases.length === 3 ? [1, 3] : [1];
  if (by("phases").dataset.bus !== bus.bus) {
    by("phases").replaceChildren(...choices.map((count) => make("option", {value: count}, count)));
    by("phases").value = choices.at(-1);
    by("phases").dataset.bus = bus.bus;
  }
  by("here").replaceChildren(...standingAt(bus.bus).map(removable));
}

/** What was added at a bus: what it is, and how it is removed. */
function standingAt(bus) {
  const here = (rows) => rows.filter((row) => row.bus === bus);
  const phases = (row) => (row.phases === 3 ? "three phases" : "one phase");
  const where = (row) => ({bus_name: bus, device_name: row.device});
  const {generators, devices, storages} = shown.added;
  return [
    ...here(generators).map((row) => ({
      told: `Generator, ${phases(row)}: ${written(row.kw)} kW`,
      path: "/remove_generator", body: {bus_name: bus, phases: row.phases},
      done: `The generator at bus ${bus} is gone.`,
    })),
    ...here(devices).map((row) => ({
      told: `${row.device}, ${phases(row)}: ${written(row.present_kw)} kW`,
      path: "/disconnect_device", body: where(row), done: `${row.device} is gone from bus ${bus}.`,
    })),
    ...here(storages).map((row) => ({
      told: `${row.device}, ${row.mode}: ${written(row.energy_kwh)} of ${written(row.capacity_kwh)} kWh`,
      path: "/toggle_storage_device", body: {...where(row), action: "disconnect"},
      done: `${row.device} is gone from bus ${bus}.`,
    })),
  ];
}

function removable({told, path, body, done}) {
  const row = make("li"), remove = make("button", {type: "button"}, "Remove");
  remove.disabled = shown.at !== null;
  remove.addEventListener("click", () => modify(path, () => ({body, done})));
  row.append(make("span", {}, told), remove);
  return row;
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
  row.hidden = each.rated_kW === 0;
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

const SEVERITIES = ["overloaded", "critical", "range B", "warning", "range A"];

/** The worst first. */
function showViolations(violations) {
  const beyond = (each) => Math.abs(each.value / each.limit - 1);
  const rank = (each) => SEVERITIES.indexOf(each.severity);
  const sorted = [...violations].sort((a, b) => rank(a) - rank(b) || beyond(b) - beyond(a));
  by("violations-count").textContent = violations.length || "none";
  by("violations").replaceChildren(...sorted.map((each) => {
    const row = make("li"), severe = ["overloaded", "critical", "range B"].includes(each.severity);
    const what = each.typ === "bus"
      ? `Bus ${each.element} ${"ABC"[each.node - 1]}: ${each.value.toFixed(4)} pu`
      : `${each.element}: ${each.value.toFixed(1)} %`;
    const told = make(each.typ === "bus" ? "button" : "span", {class: severe ? "severe" : ""}, `${what} (${each.severity})`);
    if (each.typ === "bus") {
      told.type = "button";
      told.addEventListener("click", () => choose(each.element));
    }
    row.append(told);
    return row;
  }));
}

function showLog(entries) {
  by("then").hidden = shown.at === null;
  by("then-text").textContent = `As it was after ${shown.at}.`;
  by("log").replaceChildren(...entries.toReversed().map((entry) => {
    const row = make("li"), button = make("button", {type: "button", title: entry.at});
    const told = Object.entries(entry.payload).filter(([, value]) => value !== null && value !== "").map(withUnit);
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

function withUnit([name, value]) {
  const text = written(value);
  if (name === "phases") return value === 1 ? "1 phase" : `${text} phases`;
  if (name.endsWith("factor")) return `× ${text}`;
  if (name.endsWith("_kwh")) return `${text} kWh`;
  if (name === "kw" || name.endsWith("_kw")) return `${text} kW`;
  return name === "minutes" ? `${text} min` : text;
}

function written(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

async function showSessions() {
  const {results} = await asked("/feeder/sessions");
  by("session").replaceChildren(...results.map(({id}) => make("option", {value: id}, id)));
  by("session").value = session;
  const here = results.find(({id}) => id === session);
  if (!here) return;
  const name = `IEEE ${here.feeder.replace("ieee", "")}-node feeder`;
  by("title").textContent = name;
  document.title = session === "default" ? name : `${name}, ${session}`;
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
by("session").addEventListener("change", () => {
  location.search = `?session=${encodeURIComponent(by("session").value)}`;
});
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
listen(choose);
drawScale();
look(null).then(showSessions).catch(() => {}).finally(() => {
  document.body.setAttribute("data-ready", "true");
});
