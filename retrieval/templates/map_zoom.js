// Zooms and moves the map inside of `root`, whose drawing may be replaced at any time: buttons, keys (+, -, 0, arrows),
// the wheel with Ctrl, one pointer to move once zoomed in, two fingers to zoom. Without it, the map shows everything.
function zoomMap(root) {
  const MOST = 64;
  const STEP = 1.7;
  const DRAG_PIXELS = 5;
  const pointers = new Map();
  let view = {zoom: 1, x: 0, y: 0}; // x and y: the upper left corner, in units of the drawing
  let dragged = false;

  const drawing = () => root.querySelector("svg.map");

  function whole(svg) {
    svg.dataset.whole ||= svg.getAttribute("viewBox");
    const [, , width, height] = svg.dataset.whole.split(" ").map(Number);
    return {width, height};
  }

  function show() {
    const svg = drawing();
    if (!svg) return;
    const {width, height} = whole(svg);
    const zoom = view.zoom;
    view.x = Math.min(Math.max(view.x, 0), width - width / zoom);
    view.y = Math.min(Math.max(view.y, 0), height - height / zoom);
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${width / zoom} ${height / zoom}`);
    svg.style.setProperty("--mark", 1 / zoom); // dots and marks keep their size on the screen
    svg.classList.toggle("zoomed", zoom > 1);
    const tools = root.querySelector(".map-tools");
    if (!tools) return;
    tools.hidden = false;
    tools.querySelector("[data-zoom=in]").disabled = zoom >= MOST;
    for (const name of ["out", "all"]) tools.querySelector(`[data-zoom=${name}]`).disabled = zoom <= 1;
  }

  // Zooms and keeps the point (x, y), in shares of the view, where it is.
  function zoomBy(factor, x = 0.5, y = 0.5) {
    const svg = drawing();
    if (!svg) return;
    const {width, height} = whole(svg);
    const zoom = Math.min(Math.max(view.zoom * factor, 1), MOST);
    view.x += x * (width / view.zoom - width / zoom);
    view.y += y * (height / view.zoom - height / zoom);
    view.zoom = zoom;
    show();
  }

  // Moves by shares of the view.
  function moveBy(x, y) {
    const svg = drawing();
    if (!svg) return;
    const {width, height} = whole(svg);
    view.x += (x * width) / view.zoom;
    view.y += (y * height) / view.zoom;
    show();
  }

  function shareAt(clientX, clientY) {
    const box = drawing().getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-zoom]");
    if (button) {
      if (button.dataset.zoom === "all") view = {zoom: 1, x: 0, y: 0};
      if (button.dataset.zoom === "all") show();
      else zoomBy(button.dataset.zoom === "in" ? STEP : 1 / STEP);
    }
    // Neither a button of the map nor the end of a move is a click on a place.
    if (button || (dragged && event.target.closest("svg.map"))) event.stopImmediatePropagation();
  }, true);

  root.addEventListener("keydown", (event) => {
    if (!event.target.matches(".map-box") || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2]};
    if (event.key === "+" || event.key === "=") zoomBy(STEP);
    else if (event.key === "-") zoomBy(1 / STEP);
    else if (event.key === "0") zoomBy(0);
    else if (event.key in moves && view.zoom > 1) moveBy(...moves[event.key]);
    else return;
    event.preventDefault();
  });

  root.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !event.target.closest("svg.map")) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 200), ...shareAt(event.clientX, event.clientY));
  }, {passive: false});

  root.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("svg.map") || event.button > 0) return;
    if (pointers.size === 0) dragged = false;
    pointers.set(event.pointerId, {x: event.clientX, y: event.clientY, startX: event.clientX, startY: event.clientY});
  });

  document.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const svg = drawing();
    if (!before || !svg) return;
    const now = {...before, x: event.clientX, y: event.clientY};
    const box = svg.getBoundingClientRect();
    const far = Math.hypot(now.x - now.startX, now.y - now.startY) > DRAG_PIXELS;
    if (pointers.size === 1 && !(view.zoom > 1 && (far || dragged))) return;
    dragged = true;
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) {
      moveBy((before.x - now.x) / box.width, (before.y - now.y) / box.height);
    } else if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.max(Math.hypot(point.x - other.x, point.y - other.y), 1);
      moveBy((before.x - now.x) / 2 / box.width, (before.y - now.y) / 2 / box.height);
      zoomBy(apart(now) / apart(before), ...shareAt((now.x + other.x) / 2, (now.y + other.y) / 2));
    }
  });

  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }

  new MutationObserver(() => {
    const svg = drawing();
    if (svg && !svg.dataset.whole) show();
  }).observe(root, {childList: true, subtree: true});
  show();
}
