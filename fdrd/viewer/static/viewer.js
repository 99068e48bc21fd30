// The little that HTML cannot do: theme, keyboard, search as you type, series of plots. No state is kept here but the theme.
(() => {
  "use strict";
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const apply = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; };
  apply(stored());

  const narrow = () => matchMedia("(max-width: 899px)").matches;
  const settle = () => {
    const facets = document.querySelector("[data-facets]");
    if (facets && narrow()) facets.open = false;
  };
  document.addEventListener("DOMContentLoaded", settle);
  document.addEventListener("htmx:afterSettle", settle);

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, [data-series]");
    if (!target) return;
    if (target.matches("[data-theme-toggle]")) {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      const theme = dark ? "light" : "dark";
      apply(theme);
      try { localStorage.setItem("theme", theme); } catch { /* private window */ }
    } else if (target.dataset.opens) {
      open(target.dataset.opens);
    } else if (target.dataset.series !== undefined) {
      const off = target.getAttribute("aria-pressed") === "false";
      target.setAttribute("aria-pressed", String(off));
      const plot = target.closest("figure");
      for (const each of plot.querySelectorAll(`svg [data-of="${target.dataset.series}"]`)) each.classList.toggle("off", !off);
    }
  });

  const open = (id) => {
    const panel = document.getElementById(id);
    panel.open = true;
    const field = panel.querySelector("textarea, input:not([type=hidden])");
    field.focus();
    if (field.select && field.tagName === "INPUT") field.select();
  };

  // A key pressed while a decision is being saved would hit a record that is not on the screen yet: it is dropped.
  // Once the next record is on the screen, a key waits for the few milliseconds until its forms work.
  let state = "idle";
  let waiting = "";
  document.addEventListener("htmx:beforeRequest", () => { state = "saving"; });
  document.addEventListener("htmx:afterSwap", () => { state = "settling"; });
  document.addEventListener("htmx:afterSettle", () => { state = "idle"; const key = waiting; waiting = ""; if (key) press(key); });
  for (const failed of ["htmx:responseError", "htmx:sendError", "htmx:swapError"]) document.addEventListener(failed, () => { state = "idle"; });
  const press = (key) => document.querySelector(`main [data-key="${CSS.escape(key)}"]`)?.click();
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
    if (typing && event.key === "Escape") { typing.blur(); return; }
    if (typing && event.key === "Enter" && (event.ctrlKey || event.metaKey) && typing.form) { event.preventDefault(); typing.form.requestSubmit(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); }
      return;
    }
    const key = event.key.toLowerCase();
    const judge = document.querySelector("[data-judge]");
    if (judge && state === "idle" && (key === "y" || key === "n")) {
      const open = [...judge.querySelectorAll("fieldset")].find((each) => !each.querySelector(":checked"));
      if (open) { open.querySelector(`[value=${key === "y" ? "yes" : "no"}]`).checked = true; event.preventDefault(); }
      if (judge.checkValidity()) judge.requestSubmit();
      return;
    }
    if (state === "settling") waiting = key;
    else if (state === "idle" && document.querySelector(`main [data-key="${CSS.escape(key)}"]`)) { event.preventDefault(); press(key); }
  });

  // Selecting many: a range with Shift, the page, all of the filter; X and arrows on a focused record.
  let lastPicked = null;
  const picks = (form) => [...form.querySelectorAll("input[name=row]")];
  const counted = (form) => {
    const boxes = picks(form), picked = boxes.filter((box) => box.checked).length, all = form.querySelector("input[name=all]");
    form.querySelector("[data-pick-page]").checked = picked === boxes.length;
    const count = all?.checked ? Number(all.dataset.total) : picked;
    form.querySelector("[data-count]").textContent = `${count.toLocaleString("en")} selected`;
  };
  const pick = (box, on, range) => {
    const form = box.form, boxes = picks(form), from = boxes.indexOf(lastPicked), to = boxes.indexOf(box);
    const chosen = range && from >= 0 ? boxes.slice(Math.min(from, to), Math.max(from, to) + 1) : [box];
    for (const each of chosen) each.checked = on;
    lastPicked = box;
    const all = form.querySelector("input[name=all]");
    if (all) all.checked = false;
    counted(form);
  };
  document.addEventListener("click", (event) => {
    const card = event.target.closest("[data-card]");
    if (!card) return;
    const box = card.querySelector("input[name=row]");
    if (event.target === box) pick(box, box.checked, event.shiftKey);
    else if (event.target.closest("a") && (event.shiftKey || event.ctrlKey || event.metaKey)) { event.preventDefault(); event.stopPropagation(); pick(box, event.shiftKey || !box.checked, event.shiftKey); }
  }, true);
  document.addEventListener("change", (event) => {
    const form = event.target.closest("[data-selection]");
    if (!form) return;
    if (event.target.matches("[data-pick-page]")) for (const box of picks(form)) box.checked = event.target.checked;
    if (event.target.matches("[data-pick-page], input[name=all]")) counted(form);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.closest(".with-button input")) { event.preventDefault(); event.target.nextElementSibling.click(); return; }
    const card = event.target.closest("[data-card]");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const box = card.querySelector("input[name=row]"), key = event.key.toLowerCase();
    if (key === "x") { event.preventDefault(); pick(box, event.shiftKey || !box.checked, event.shiftKey); return; }
    const columns = getComputedStyle(card.parentElement).gridTemplateColumns.split(" ").length;
    const step = { arrowright: 1, arrowleft: -1, arrowdown: columns, arrowup: -columns }[key];
    const next = step && [...card.parentElement.children][[...card.parentElement.children].indexOf(card) + step];
    if (next) { event.preventDefault(); next.querySelector("a").focus(); }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-add-span]");
    if (!form) return;
    const caption = form.dataset.caption;
    const text = String(getSelection()).trim() || form.dataset.selected || "";
    const start = caption.indexOf(text);
    if (!text || start < 0) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    const at = [...caption.slice(0, start)].length; // Python counts characters, not UTF-16 units
    const span = { type: form.querySelector("select").value, start: at, end: at + [...text].length };
    form.elements.value.value = JSON.stringify([...JSON.parse(form.dataset.spans), span]);
  }, true);
  document.addEventListener("selectionchange", () => { // choosing a type must not lose the selection
    const text = String(getSelection()).trim();
    const form = document.querySelector("[data-add-span]");
    if (form && text) form.dataset.selected = text;
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("form.search select, form.auto select, form.auto input")) event.target.form.requestSubmit();
  });
  document.addEventListener("pointermove", (event) => hover(event));

  const hover = (event) => {
    const mark = event.target.closest?.("svg [data-tip]");
    let tip = document.getElementById("tip");
    if (!mark) { if (tip) tip.hidden = true; return; }
    if (!tip) { tip = document.createElement("div"); tip.id = "tip"; tip.setAttribute("role", "status"); document.body.append(tip); }
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    tip.style.setProperty("left", `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`);
    tip.style.setProperty("top", `${event.clientY + 14}px`);
  };
})();
