// The map: draws the points, and turns an area that is drawn with pointer or keyboard into a filter of the address.
(() => {
  "use strict";
  const SIDE = 1000, MOST = 60;
  const begin = async () => {
    const root = document.querySelector("[data-map]");
    if (!root || root.dataset.ready) return;
    root.dataset.ready = "1";
    const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d"), status = root.querySelector("[data-map-status]");
    const colors = [...root.querySelectorAll(".legend .swatch")].map((each) => getComputedStyle(each).backgroundColor);
    const answer = await fetch(root.dataset.points);
    if (!answer.ok) { status.textContent = "The points cannot be read; reload the page"; return; }
    const points = new Uint16Array(await answer.arrayBuffer());
    const at = (x, y) => [20 + x / SIDE * (canvas.width - 40), canvas.height - 20 - y / SIDE * (canvas.height - 40)];
    const back = (px, py) => [(px - 20) / (canvas.width - 40) * SIDE, (canvas.height - 20 - py) / (canvas.height - 40) * SIDE]
      .map((value) => Math.round(Math.min(SIDE, Math.max(0, value))));
    let corners = [], drawing = false, cross = null;
    const contains = (x, y) => {
      let found = false;
      for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
        const [x1, y1] = corners[i], [x2, y2] = corners[j];
        if ((y1 > y) !== (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1) found = !found;
      }
      return found;
    };
    const draw = () => {
      pen.clearRect(0, 0, canvas.width, canvas.height);
      const size = (points.length > 30000 ? 2 : points.length > 6000 ? 3 : 5) * Math.max(1, 0.7 * canvas.width / canvas.clientWidth);
      for (let i = 0; i < points.length; i += 3) {
        const [x, y] = at(points[i], points[i + 1]);
        pen.fillStyle = colors[Math.min(points[i + 2], colors.length - 1)] ?? "gray";
        pen.globalAlpha = corners.length < 3 || drawing || contains(points[i], points[i + 1]) ? 0.85 : 0.15;
        pen.fillRect(x - size / 2, y - size / 2, size, size);
      }
      pen.globalAlpha = 1;
      pen.strokeStyle = getComputedStyle(canvas).color;
      pen.lineWidth = 2;
      pen.beginPath();
      corners.forEach(([x, y], number) => { const [px, py] = at(x, y); if (number) pen.lineTo(px, py); else pen.moveTo(px, py); });
      if (!drawing) pen.closePath();
      pen.stroke();
      if (cross) { const [x, y] = at(...cross); pen.strokeRect(x - 6, y - 6, 12, 12); }
    };
    const settle = () => {
      const step = Math.ceil(corners.length / MOST);
      corners = corners.filter((_, number) => number % step === 0);
      let count = 0;
      if (corners.length > 2) for (let i = 0; i < points.length; i += 3) count += contains(points[i], points[i + 1]);
      status.textContent = corners.length > 2 ? `${count.toLocaleString("en")} of ${(points.length / 3).toLocaleString("en")} drawn points are inside` : `${(points.length / 3).toLocaleString("en")} points`;
      for (const [name, url] of [["show", root.dataset.browse], ["review", root.dataset.review]]) {
        const link = root.querySelector(`[data-map-${name}]`);
        if (!link) continue;
        link.hidden = !count;
        link.href = `${url}${url.includes("?") ? "&" : "?"}area=${corners.flat().join(",")}`;
      }
      draw();
    };
    const where = (event) => {
      const box = canvas.getBoundingClientRect();
      return back((event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height);
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); drawing = true; cross = null; corners = [where(event)]; draw(); });
    canvas.addEventListener("pointermove", (event) => {
      if (!drawing) return;
      const [x, y] = where(event), [lastX, lastY] = corners.at(-1);
      if (Math.hypot(x - lastX, y - lastY) > 8) { corners.push([x, y]); draw(); }
    });
    canvas.addEventListener("pointerup", () => { drawing = false; settle(); });
    canvas.addEventListener("pointercancel", () => { drawing = false; corners = []; settle(); });
    canvas.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 100 : 20, [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key] ?? [0, 0];
      if (dx || dy) cross = [cross?.[0] ?? 500, cross?.[1] ?? 500].map((value, axis) => Math.min(SIDE, Math.max(0, value + [dx, dy][axis])));
      else if (event.key === "Enter" && cross) corners.push([...cross]);
      else if (event.key === "Escape") { corners = []; cross = null; }
      else return;
      event.preventDefault();
      event.stopPropagation();
      settle();
    });
    settle();
  };
  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSettle", begin);
})();
