"use strict";
(() => {
  const rows = Array.from(document.querySelectorAll(".row"));
  if (rows.length === 0) return;
  const texts = rows.map((row) => row.querySelector("summary").textContent.toLowerCase() +
    Array.from(row.querySelectorAll(".values th code, .attributes code"), (code) => code.textContent.toLowerCase()).join("\n"));
  const chips = Array.from(document.querySelectorAll(".chip"));
  const cells = Array.from(document.querySelectorAll("button.cell"));
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  const expand = document.getElementById("expand");
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));

  function show() {
    const kinds = new Set(chips.filter(pressed).map((chip) => chip.dataset.kind));
    const cell = cells.find(pressed);
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, i) => {
      const is = kinds.has(row.dataset.kind) && texts[i].includes(wanted) &&
        (cell === undefined || row.dataset[cell.dataset.side] === cell.dataset.cell);
      row.hidden = !is;
      if (is) shown++;
    });
    count.textContent = shown === rows.length ? `${shown} shown` : `${shown} of ${rows.length} shown`;
    if (cell !== undefined) count.textContent += `, of the ${cell.dataset.side}'s ${cell.title}`;
  }

  chips.forEach((chip) => chip.addEventListener("click", () => { press(chip, !pressed(chip)); show(); }));
  cells.forEach((cell) => cell.addEventListener("click", () => {
    const on = !pressed(cell);
    cells.forEach((other) => press(other, false));
    press(cell, on);
    show();
  }));
  search.addEventListener("input", show);
  expand.addEventListener("click", () => {
    const open = expand.textContent === "expand all";
    rows.forEach((row) => { if (!row.hidden) row.open = open; });
    expand.textContent = open ? "collapse all" : "expand all";
  });
})();
