"use strict";
// Draws each chart of the embedded data as SVG, and answers pointer and keys with its numbers.
// All text is set as text, never as markup: names come from files.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const hidden = new Set(); // methods switched off
  let eachSeed = false;
  const MARGIN = { left: 58, right: 24, top: 10, bottom: 44 };
  const MOST_IN_TIP = 8;
  const MARKED = 40; // up to so many points, each has a dot

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
  const number = (v) => (Math.abs(v) >= 1000 ? whole : precise).format(v);
  const colour = (method) => data.looks[method].colour;
  const dash = (method) => data.looks[method].dash;

  function svg(parent, name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return parent.appendChild(node);
  }

  function html(parent, name, text, className) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return parent.appendChild(node);
  }

  function ticks(low, high, about) {
    const rough = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step || 0); // no -0
    return found;
  }

  function extent(lists) {
    let low = Infinity, high = -Infinity;
    for (const list of lists) for (const v of list) { if (v < low) low = v; if (v > high) high = v; }
    return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  function nearest(xs, x) { // index of the value of an increasing list that is closest to x
    let low = 0, high = xs.length - 1;
    while (low < high) { const mid = (low + high) >> 1; if (xs[mid] < x) low = mid + 1; else high = mid; }
    return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : low;
  }

  function key(parent, method) {
    const picture = svg(parent, "svg", { class: "key", viewBox: "0 0 26 15", "aria-hidden": "true" });
    svg(picture, "line", { x1: 0, x2: 26, y1: 7.5, y2: 7.5, stroke: colour(method), "stroke-dasharray": dash(method) });
  }

  const seedsOf = (line) => (eachSeed || !line.low ? line.each || [] : []); // where no band is, they are always there

  class Chart {
    constructor(place, chart) {
      this.place = place;
      this.chart = chart;
      this.all = [...new Set(chart.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
      this.tip = html(place, "div", undefined, "tip");
      this.tip.hidden = true;
      this.tip.setAttribute("role", "status");
      this.at = null;
    }

    draw() {
      const { place, chart } = this;
      const lines = (this.lines = chart.lines.filter((line) => !hidden.has(line.method)));
      const width = place.clientWidth, height = Math.round(Math.min(360, Math.max(230, width * 0.6)));
      if (!width) return;
      const shown = (line) => [line.y, line.low || [], line.high || [], ...seedsOf(line)];
      const [left, right] = extent([chart.whole ? [0] : [], ...lines.map((line) => line.x)]);
      const [bottom, top] = chart.heights || extent(lines.flatMap(shown));
      const pad = chart.heights ? 0.02 : (top - bottom) * 0.05;
      const { left: l, right: r, top: t, bottom: b } = MARGIN;
      const x = (this.x = (v) => l + ((v - left) / (right - left || 1)) * (width - l - r));
      const y = (this.y = (v) => height - b - ((v - bottom + pad) / (top - bottom + 2 * pad)) * (height - t - b));
      this.bottom = height - b;
      this.inverse = (px) => left + ((px - l) / (width - l - r)) * (right - left);

      place.querySelector(":scope > svg")?.remove();
      const picture = svg(place, "svg", {
        viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "img",
        "aria-label": `${chart.title}: ${chart.yTitle} against ${chart.xTitle}. Arrow keys read out the values.`,
      });
      for (const v of ticks(bottom, top, height / 60)) {
        svg(picture, "line", { class: "grid", x1: l, x2: width - r, y1: y(v), y2: y(v) });
        svg(picture, "text", { x: l - 8, y: y(v) + 4, "text-anchor": "end" }, short.format(v));
      }
      for (const v of ticks(left, right, width / 90))
        svg(picture, "text", { x: x(v), y: height - b + 18, "text-anchor": "middle" }, short.format(v));
      svg(picture, "text", { x: (l + width - r) / 2, y: height - 6, "text-anchor": "middle" }, chart.xTitle);
      svg(picture, "text", { transform: `translate(13 ${(t + height - b) / 2}) rotate(-90)`, "text-anchor": "middle" }, chart.yTitle);

      const path = (xs, ys) => "M" + xs.map((v, k) => `${x(v).toFixed(1)} ${y(ys[k]).toFixed(1)}`).join("L");
      for (const line of lines) {
        const stroke = colour(line.method);
        const group = svg(picture, "g", { class: "of", "data-method": line.method });
        if (line.low) {
          const back = path([...line.x].reverse(), [...line.high].reverse()).slice(1);
          svg(group, "path", { d: `${path(line.x, line.low)}L${back}Z`, fill: stroke, "fill-opacity": 0.16 });
        }
        for (const ys of seedsOf(line))
          svg(group, "path", { d: path(line.x, ys), fill: "none", stroke, "stroke-width": 0.8, "stroke-opacity": 0.55 });
        svg(group, "path", {
          class: "line", d: path(line.x, line.y), fill: "none", stroke, "stroke-width": 2, "stroke-linejoin": "round",
          "stroke-dasharray": dash(line.method),
        });
        if (line.x.length <= MARKED)
          line.x.forEach((v, k) => svg(group, "circle", { cx: x(v), cy: y(line.y[k]), r: 2.4, fill: stroke }));
      }
      this.over = svg(picture, "g", {});
      picture.addEventListener("pointermove", (event) => this.point(event));
      picture.addEventListener("pointerdown", (event) => this.point(event));
      picture.addEventListener("pointerleave", () => this.leave());
      picture.addEventListener("blur", () => this.leave());
      picture.addEventListener("keydown", (event) => this.press(event));
    }

    name(x) { // a place on the x-axis, in words
      return this.chart.xName.replace("*", this.chart.whole ? whole.format(x) : number(x));
    }

    point(event) {
      const box = event.currentTarget.getBoundingClientRect();
      this.show(nearest(this.all, this.inverse(event.clientX - box.left)), event.clientY - box.top);
    }

    press(event) {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        event.preventDefault();
        this.show(Math.min(this.all.length - 1, Math.max(0, (this.at ?? -1) + step)), 0);
      } else if (event.key === "Escape") this.leave();
    }

    leave() {
      this.at = null;
      this.tip.hidden = true;
      this.over?.replaceChildren();
    }

    // What every method has at the step closest to the pointer, the nearest to it first where many.
    show(at, pointerY) {
      this.at = at;
      const value = this.all[at];
      const gap = ({ x }) => (x.at(-1) - x[0]) / (2 * Math.max(1, x.length - 1)) + 1e-9;
      const found = this.lines
        .map((line) => ({ line, k: nearest(line.x, value) }))
        .filter(({ line, k }) => Math.abs(line.x[k] - value) <= gap(line) * 2);
      if (!found.length) return this.leave();
      const apart = ({ line, k }) => Math.abs(this.y(line.y[k]) - pointerY);
      const listed = [...found].sort((a, b) => apart(a) - apart(b)).slice(0, MOST_IN_TIP);
      listed.sort((a, b) => b.line.y[b.k] - a.line.y[a.k]);

      this.over.replaceChildren();
      svg(this.over, "line", { class: "rule", x1: this.x(value), x2: this.x(value), y1: MARGIN.top, y2: this.bottom });
      for (const { line, k } of listed)
        svg(this.over, "circle", { cx: this.x(line.x[k]), cy: this.y(line.y[k]), r: 4, fill: colour(line.method), stroke: "var(--paper)", "stroke-width": 1.5 });

      this.tip.replaceChildren();
      html(this.tip, "div", this.name(value));
      const body = html(html(this.tip, "table"), "tbody");
      for (const { line, k } of listed) {
        const row = html(body, "tr");
        const name = html(row, "td");
        key(name, line.method);
        name.append(line.label);
        html(html(row, "td"), "b", number(line.y[k]));
        const few = found.length > 1 ? seedsOf(line) : []; // of one alone they stand below, by name
        html(row, "td", line.low ? `${number(line.low[k])} to ${number(line.high[k])}` : few.map((ys) => number(ys[k])).join(", "));
        html(row, "td", line.x[k] === value ? line.told : `${line.told}, at ${this.name(line.x[k])}`);
      }
      if (found.length > listed.length) html(this.tip, "div", `and ${found.length - listed.length} more`);
      if (found.length === 1 && found[0].line.each) {
        const { line, k } = found[0];
        html(this.tip, "div", line.seeds.slice(0, 16).map((seed, s) => `seed ${seed}: ${number(line.each[s][k])}`).join(", "));
      }
      this.tip.hidden = false;
      const room = this.place.clientWidth - this.tip.offsetWidth;
      const right = this.x(value) + 14;
      const there = right <= room ? right : this.x(value) - 14 - this.tip.offsetWidth;
      const middle = listed.reduce((sum, { line, k }) => sum + this.y(line.y[k]), 0) / listed.length;
      const below = middle < (MARGIN.top + this.bottom) / 2;
      this.tip.style.top = `${below ? Math.max(0, this.bottom - this.tip.offsetHeight - 8) : 8}px`;
      this.tip.style.left = `${Math.max(0, Math.min(room, there))}px`;
    }
  }

  const charts = [...document.querySelectorAll(".chart")].map((place) => new Chart(place, data.charts[place.dataset.chart]));
  const redraw = () => charts.forEach((chart) => { chart.leave(); chart.draw(); });
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = charts.find(({ place }) => place === target);
      if (chart.width !== target.clientWidth) { chart.width = target.clientWidth; chart.leave(); chart.draw(); }
    }
  });
  charts.forEach(({ place }) => resized.observe(place));

  for (const button of document.querySelectorAll(".legend button")) {
    const method = Number(button.dataset.method);
    button.addEventListener("click", () => {
      if (!hidden.delete(method)) hidden.add(method);
      button.setAttribute("aria-pressed", String(!hidden.has(method)));
      redraw();
    });
    const fade = (opacity) => () => {
      for (const group of document.querySelectorAll(".of"))
        group.setAttribute("opacity", Number(group.dataset.method) === method ? 1 : opacity);
    };
    button.addEventListener("pointerenter", fade(0.15));
    button.addEventListener("pointerleave", fade(1));
  }
  document.getElementById("each-seed")?.addEventListener("change", (event) => {
    eachSeed = event.target.checked;
    redraw();
  });
})();
