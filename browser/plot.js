// Plot the lesson's outputs for each x.

const SVG = "http://www.w3.org/2000/svg";
const across = (x) => 56 + (x / 600) * 364;
const up = (y) => 238 - (y / 60005) * 224;

function drawing(tag, attributes, content = []) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat());
  return made;
}

// Draw the true line, the range of the training data, and the points and the name of each series.
export function plot(svg, real, series) {
  const line = (x1, y1, x2, y2, name) => drawing("line", { x1, y1, x2, y2, class: name });
  const text = (x, y, anchor, content) => drawing("text", { x, y, "text-anchor": anchor }, content);
  const parts = [
    drawing("rect", { x: across(100), y: up(60005), width: across(199) - across(100),
      height: up(0) - up(60005), class: "data" }),
  ];
  for (const y of [0, 20000, 40000, 60000]) {
    parts.push(line(across(0), up(y), across(600), up(y), "axis"));
    parts.push(text(across(0) - 8, up(y) + 4, "end", y.toLocaleString("en")));
  }
  for (const x of [0, 100, 200, 300, 400, 500, 600]) {
    parts.push(text(across(x), up(0) + 20, "middle", `${x}`));
  }
  parts.push(line(across(0), up(real(0)), across(600), up(real(600)), "true"));
  for (const [index, { name, color, points }] of series.entries()) {
    for (const [x, y] of points) {
      parts.push(drawing("circle", { cx: across(x), cy: up(y), r: 4, fill: color }));
    }
    parts.push(drawing("circle", { cx: across(300), cy: up(16500) + 16 * index, r: 4, fill: color }));
    parts.push(text(across(300) + 11, up(16500) + 4 + 16 * index, "start", name));
  }
  parts.push(line(0, up(0), 0, up(60005), "now"));
  svg.append(...parts);
}

// Move the mark to the current x.
export function mark(svg, x) {
  const at = Math.min(Math.max(x, 0), 600);
  svg.querySelector(".now")?.setAttribute("transform", `translate(${across(at)} 0)`);
}
