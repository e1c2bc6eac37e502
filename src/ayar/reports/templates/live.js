"use strict";
// A page served by `ayar serve` follows its study: when the counter has moved, the page's content is fetched anew.
(() => {
  const PAUSE_MS = 2000;
  const shown = () => document.documentElement.dataset.version;

  async function follow() {
    const state = document.getElementById("live");
    try {
      const study = await (await fetch("/api/study", { cache: "no-store" })).json();
      if (study.version !== shown() && !document.body.classList.contains("lit")) await renew();
      state.textContent = "live";
    } catch {
      state.textContent = "not connected";
    }
    setTimeout(follow, PAUSE_MS);
  }

  async function renew() {
    const text = await (await fetch("/", { cache: "no-store" })).text();
    const next = new DOMParser().parseFromString(text, "text/html");
    const chosen = [...document.querySelectorAll("input:checked")].map((input) => input.id);
    const sorted = document.querySelector("table.trials th[aria-sort]");
    for (const id of ["sum", "main", "trials"]) document.getElementById(id).replaceWith(next.getElementById(id));
    for (const id of chosen) {
      const input = document.getElementById(id);
      if (input) input.checked = true;
    }
    if (sorted) {
      const heads = [...document.querySelectorAll("table.trials th")];
      const button = heads.find((head) => head.textContent === sorted.textContent)?.querySelector("button");
      for (let i = sorted.getAttribute("aria-sort") === "ascending" ? 1 : 2; i > 0; i--) button?.click();
    }
    document.documentElement.dataset.version = next.documentElement.dataset.version;
    document.title = next.title;
  }

  setTimeout(follow, PAUSE_MS);
})();
