"use strict";
// One trial lights up everywhere at once: on hover, on touch, and with the arrow keys inside a figure.
(() => {
  const REACH = 28; // how near, in screen pixels, the pointer must come to a mark
  const card = document.getElementById("card");
  const outlines = new WeakMap();
  let lit = null;

  const trials = () => JSON.parse(document.getElementById("trials").textContent);

  function light(id) {
    if (id === lit) return;
    lit = id;
    document.querySelectorAll(".on").forEach((mark) => mark.classList.remove("on"));
    document.body.classList.toggle("lit", id !== null);
    card.hidden = id === null;
    if (id === null) return;
    document.querySelectorAll(`[data-t="${id}"]`).forEach((mark) => {
      mark.classList.add("on");
      if (mark.ownerSVGElement) mark.parentNode.append(mark); // last drawn is on top
    });
    tell(id);
  }

  function tell(id) {
    const [title, score, verdict, settings] = trials()[id] || [`Trial ${id}`, "", "", []];
    card.replaceChildren();
    add("strong", title);
    if (score) add("p", score);
    if (verdict) add("p", verdict, "said");
    const list = add("dl", "");
    for (const [name, value] of settings) {
      list.append(made("dt", name), made("dd", value));
    }
  }

  function made(tag, text, css) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (css) element.className = css;
    return element;
  }

  function add(tag, text, css) {
    const element = made(tag, text, css);
    card.append(element);
    return element;
  }

  function place(x, y) {
    const box = card.getBoundingClientRect();
    const left = x + 18 + box.width < innerWidth ? x + 18 : Math.max(8, x - 18 - box.width);
    card.style.left = `${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px`;
    card.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - box.height - 8))}px`;
  }

  // Every mark of a figure as a list of corner points: [trial, [[x, y], ...]].
  function outline(svg) {
    if (!outlines.has(svg)) {
      const marks = [...svg.querySelectorAll("[data-t]")].map((mark) => {
        if (mark.tagName === "circle") return [mark.dataset.t, [[+mark.getAttribute("cx"), +mark.getAttribute("cy")]]];
        if (mark.classList.contains("x")) {
          const box = mark.getBBox();
          return [mark.dataset.t, [[box.x + box.width / 2, box.y + box.height / 2]]];
        }
        const numbers = mark.getAttribute("d").match(/-?[\d.]+/g).map(Number);
        return [mark.dataset.t, numbers.flatMap((x, k) => (k % 2 ? [] : [[x, numbers[k + 1]]]))];
      });
      outlines.set(svg, marks);
    }
    return outlines.get(svg);
  }

  function distance(p, a, b) {
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const along = dx || dy ? Math.max(0, Math.min(1, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy))) : 0;
    return Math.hypot(p[0] - a[0] - along * dx, p[1] - a[1] - along * dy);
  }

  function nearest(svg, event) {
    const toFigure = svg.getScreenCTM().inverse();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(toFigure);
    let [found, least] = [null, REACH * toFigure.a];
    for (const [trial, corners] of outline(svg)) {
      corners.forEach((corner, k) => {
        const far = distance([at.x, at.y], corners[Math.max(0, k - 1)], corner);
        if (far < least) [found, least] = [trial, far];
      });
    }
    return found;
  }

  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("svg.curves, svg.slice");
    const row = event.target.closest?.("tr[data-t]");
    if (!svg && !row && event.pointerType !== "mouse") return;
    light(svg ? nearest(svg, event) : row ? row.dataset.t : null);
    if (lit !== null) place(event.clientX, event.clientY);
  });

  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("svg.curves, svg.slice");
    if (!svg) return light(null);
    light(nearest(svg, event));
    if (lit !== null) place(event.clientX, event.clientY);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return light(null);
    const svg = event.target.closest?.("svg.curves, svg.slice");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!svg || !step) return;
    event.preventDefault();
    const ids = [...new Set(outline(svg).map(([trial]) => trial))].sort((a, b) => a - b);
    if (!ids.length) return;
    const now = ids.indexOf(lit);
    light(ids[now < 0 ? (step > 0 ? 0 : ids.length - 1) : (now + step + ids.length) % ids.length]);
    const box = svg.getBoundingClientRect();
    place(box.left + 40, box.bottom - 20);
  });

  document.addEventListener("focusout", (event) => {
    if (event.target.closest?.("svg.curves, svg.slice")) light(null);
  });

  // A click on a column's name sorts the table by it; a second click turns the order round.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("th button");
    if (!button) return;
    const head = button.closest("th");
    const table = head.closest("table");
    const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const key = (row) => row.cells[head.cellIndex].dataset.v;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is missing stays at the end
      const numeric = !isNaN(x) && !isNaN(y);
      return sign * (numeric ? x - y : x.localeCompare(y));
    });
    body.append(...rows);
  });
})();
