"use strict";

// The ends of the scale: ANSI C84.1, range A.
const LOWEST = 0.95, HIGHEST = 1.05;
const LOW = [33, 102, 172], MIDDLE = [236, 236, 232], HIGH = [178, 24, 43];

/** What is drawn, and how it is looked at: `x` and `y` move it by so many pixels. */
const drawing = {
  buses: [], branches: [], generating: new Set(), source: null, chosen: null, phase: null,
  places: new Map(), zoom: 1, x: 0, y: 0,
};

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

/** The voltage that a bus is coloured by: of the chosen phase, or the one furthest from 1. */
function shownVoltage(bus) {
  if (drawing.phase !== null) {
    return bus.nodes.find((node) => node.Node === drawing.phase)?.VMag_pu ?? null;
  }
  return bus.nodes.map((node) => node.VMag_pu)
    .reduce((far, v) => (far === null || Math.abs(v - 1) > Math.abs(far - 1) ? v : far), null);
}

// -- places ---------------------------------------------------------------------------------------

/** Where buses are in a frame, in pixels, at no zoom. A narrow feeder is stretched twofold at most,
    to fill more of it. Those at one place (a regulator's two sides) stand side by side. */
function placed(buses, width, height) {
  const drawn = buses.filter((bus) => bus.x !== null && bus.y !== null);
  const xs = drawn.map((bus) => bus.x), ys = drawn.map((bus) => bus.y);
  const left = Math.min(...xs), top = Math.max(...ys);
  const wide = Math.max(...xs) - left, high = top - Math.min(...ys);
  const across = Math.min(width / wide, 2 * height / high);
  const down = Math.min(height / high, 2 * width / wide);
  const margin = {x: (width - wide * across) / 2, y: (height - high * down) / 2};
  const taken = [], places = new Map();
  for (const bus of drawn) {
    let at = (bus.x - left) / wide, beside = 0;
    const y = (top - bus.y) / high;
    while (taken.some((other) => Math.hypot(other.x - at, other.y - y) < 0.007)) {
      at += 0.015;
      beside += 1;
    }
    taken.push({x: at, y});
    const x = margin.x + (bus.x - left) * across;
    places.set(bus.bus, {x, y: margin.y + (top - bus.y) * down, beside});
  }
  return places;
}

/** Places as they are looked at now; marks grow less than distances do. */
function seen(width, height) {
  const edge = 26, radius = markRadius(width);
  const places = placed(drawing.buses, width - 2 * edge, height - 2 * edge);
  for (const [name, {x, y, beside}] of places) {
    places.set(name, {
      x: width / 2 + drawing.zoom * (x + edge - width / 2) + drawing.x + beside * (2 * radius + 3),
      y: height / 2 + drawing.zoom * (y + edge - height / 2) + drawing.y,
    });
  }
  return places;
}

function markRadius(width) {
  return Math.min(9, Math.max(3.2, Math.min(6, width / 125)) * Math.sqrt(drawing.zoom));
}

/** Where names can stand without covering marks or each other; those that cannot are left out. */
function named(places, radius) {
  const covered = [...places.values()].map(({x, y}) => box(x - radius, y - radius, 2 * radius, 2 * radius));
  const names = new Map();
  for (const bus of inOrder(drawing.buses)) {
    const place = places.get(bus.bus);
    if (!place) continue;
    const chosen = bus.bus === drawing.chosen;
    const width = (chosen ? 8 : 6.2) * bus.bus.length, height = chosen ? 12 : 10, gap = radius + 1;
    const around = [
      [gap, -gap - 2], [-gap - width, -gap - 2], [gap, gap + 7], [-gap - width, gap + 7],
      [-width / 2, -gap - 2], [-width / 2, gap + 9], [gap + 1, 4], [-gap - width - 1, 4],
    ];
    const free = around.find(([dx, dy]) => {
      const wanted = box(place.x + dx, place.y + dy - height, width, height);
      return !covered.some((other) => overlap(wanted, other));
    });
    if (!free && !chosen) continue;
    const [dx, dy] = free ?? around[0];
    names.set(bus.bus, {x: dx, y: dy});
    covered.push(box(place.x + dx - 1, place.y + dy - height, width + 3, height));
  }
  return names;
}

/** Whose name comes first: the chosen bus, then those beyond the band, then main lines. */
function inOrder(buses) {
  const rank = (bus) => {
    const voltage = shownVoltage(bus);
    if (bus.bus === drawing.chosen) return 0;
    if (voltage !== null && (voltage < LOWEST || voltage > HIGHEST)) return 1;
    return bus.phases.length === 3 ? 2 : 3;
  };
  return [...buses].sort((one, other) => rank(one) - rank(other));
}

function box(x, y, width, height) {
  return {left: x, top: y, right: x + width, bottom: y + height};
}

function overlap(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}

// -- drawing --------------------------------------------------------------------------------------

function draw() {
  const feeder = by("feeder"), {width, height} = feeder.getBoundingClientRect();
  if (!drawing.buses.length || width === 0) return;
  const places = seen(width, height), radius = markRadius(width), names = named(places, radius);
  drawing.places = places;
  feeder.setAttribute("viewBox", `0 0 ${width} ${height}`);
  feeder.classList.toggle("zoomed", drawing.zoom > 1);
  const lines = drawing.branches.filter((b) => places.has(b.from_bus) && places.has(b.to_bus));
  by("branches").replaceChildren(...lines.map((branch) => drawnBranch(branch, places, radius)));
  const buses = drawing.buses.filter((bus) => places.has(bus.bus)), groups = by("buses");
  if (groups.children.length !== buses.length) groups.replaceChildren(...buses.map(newBus));
  for (const [i, bus] of buses.entries()) {
    drawBus(groups.children[i], bus, places.get(bus.bus), radius, names.get(bus.bus));
  }
}

function drawnBranch(branch, places, radius) {
  const from = places.get(branch.from_bus), to = places.get(branch.to_bus);
  const line = make("line", {
    x1: from.x, y1: from.y, x2: to.x, y2: to.y,
    class: `${branch.typ}${branch.closed ? "" : " open"}`,
    "stroke-width": radius * (branch.phases.length === 3 ? 0.55 : 0.28),
  });
  const open = branch.closed ? "" : ", open";
  line.append(make("title", {}, `${branch.typ} ${branch.name}, ${branch.phases}${open}`));
  return line;
}

function newBus(bus) {
  const group = make("g", {class: "bus", tabindex: 0, role: "button", "data-bus": bus.bus});
  group.append(make("path", {class: "mark"}), make("text", {}, bus.bus), make("title"));
  return group;
}

/** A bus as it is now. Its elements stay: a key or a click may be on its way to them. */
function drawBus(group, bus, {x, y}, radius, name) {
  const voltage = shownVoltage(bus), [mark, text, title] = group.children;
  const told = voltage === null ? "no voltage" : `${voltage.toFixed(4)} pu`;
  group.setAttribute("transform", `translate(${x} ${y})`);
  group.setAttribute("aria-label", `Bus ${bus.bus}, ${told}`);
  group.classList.toggle("dead", voltage === null);
  group.classList.toggle("beyond", voltage !== null && (voltage < LOWEST || voltage > HIGHEST));
  group.classList.toggle("generating", drawing.generating.has(bus.bus));
  group.classList.toggle("chosen", bus.bus === drawing.chosen);
  mark.setAttribute("d", shape(bus, radius));
  if (voltage === null) {
    group.removeAttribute("data-vm");
    mark.removeAttribute("fill");
  } else {
    group.setAttribute("data-vm", voltage);
    mark.setAttribute("fill", colour(voltage));
  }
  const numbers = bus.nodes.map((n) => `${"ABC"[n.Node - 1]} ${n.VMag_pu.toFixed(4)} pu`);
  title.textContent = [bus.bus, ...numbers].join("\n");
  text.setAttribute("visibility", name ? "visible" : "hidden");
  if (name) for (const key of ["x", "y"]) text.setAttribute(key, name[key]);
}

/** A triangle generates, a square is the source, all others are circles. */
function shape(bus, r) {
  if (drawing.generating.has(bus.bus)) return `M0 ${-1.5 * r} L${1.4 * r} ${1.1 * r} L${-1.4 * r} ${1.1 * r} Z`;
  if (bus.bus === drawing.source) return `M${-r} ${-r} H${r} V${r} H${-r} Z`;
  return `M${-r} 0 A${r} ${r} 0 1 1 ${r} 0 A${r} ${r} 0 1 1 ${-r} 0 Z`;
}

function drawScale() {
  by("lowest").textContent = LOWEST.toFixed(2);
  by("highest").textContent = HIGHEST.toFixed(2);
  for (let i = 0; i < 50; i += 1) {
    const voltage = LOWEST + (i + 0.5) / 50 * (HIGHEST - LOWEST);
    by("scale").append(make("rect", {x: 2 * i, y: 0, width: 2, height: 6, fill: colour(voltage)}));
  }
}

// -- looking closer -------------------------------------------------------------------------------

/** Closer or farther, so that what is at a point of the frame stays there; by default the middle. */
function zoomed(factor, at) {
  const {width, height} = by("feeder").getBoundingClientRect();
  const zoom = Math.min(12, Math.max(1, drawing.zoom * factor)), ratio = zoom / drawing.zoom;
  const x = (at?.x ?? width / 2) - width / 2, y = (at?.y ?? height / 2) - height / 2;
  drawing.x = zoom === 1 ? 0 : x - ratio * (x - drawing.x);
  drawing.y = zoom === 1 ? 0 : y - ratio * (y - drawing.y);
  drawing.zoom = zoom;
  draw();
}

/** The bus nearest to a point of the window, where one is near enough to be meant. */
function nearest({clientX, clientY}) {
  const frame = by("feeder").getBoundingClientRect();
  let found = null, least = 22;
  for (const [name, {x, y}] of drawing.places) {
    const distance = Math.hypot(clientX - frame.left - x, clientY - frame.top - y);
    if (distance < least) [found, least] = [name, distance];
  }
  return found;
}

/** Clicks, keys, the wheel and dragging; `chosen` is told of the bus that is chosen. */
function listen(chosen) {
  const feeder = by("feeder");
  let held = null, dragged = false;
  feeder.addEventListener("pointerdown", (event) => {
    held = drawing.zoom > 1 ? {x: event.clientX - drawing.x, y: event.clientY - drawing.y} : null;
    dragged = false;
  });
  feeder.addEventListener("pointermove", (event) => {
    if (!held || event.buttons === 0) return;
    const x = event.clientX - held.x, y = event.clientY - held.y;
    if (!dragged && Math.hypot(x - drawing.x, y - drawing.y) < 5) return;
    if (!dragged) feeder.setPointerCapture(event.pointerId);
    dragged = true;
    feeder.classList.add("held");
    Object.assign(drawing, {x, y});
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    feeder.addEventListener(end, () => {
      held = null;
      feeder.classList.remove("held");
    });
  }
  feeder.addEventListener("click", (event) => {
    const name = dragged ? null : nearest(event);
    if (name !== null) chosen(name);
  });
  feeder.addEventListener("keydown", (event) => {
    const name = event.target.getAttribute("data-bus");
    if (name && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      chosen(name);
    }
  });
  feeder.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.documentElement.scrollHeight > innerHeight) return;
    event.preventDefault();
    const frame = feeder.getBoundingClientRect();
    zoomed(Math.exp(-event.deltaY / 400), {x: event.clientX - frame.left, y: event.clientY - frame.top});
  }, {passive: false});
  by("closer").addEventListener("click", () => zoomed(1.6));
  by("farther").addEventListener("click", () => zoomed(1 / 1.6));
  by("whole").addEventListener("click", () => zoomed(0));
  by("phase").addEventListener("change", () => {
    drawing.phase = by("phase").value === "" ? null : Number(by("phase").value);
    draw();
  });
  new ResizeObserver(draw).observe(by("frame"));
}
