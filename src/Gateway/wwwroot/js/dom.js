// Elements made of data: text is always a text node, so what a model or a stranger wrote never becomes markup here.

const svgNamespace = 'http://www.w3.org/2000/svg';

/** An element. Properties that begin with "on" are listeners; "dataset" is spread; null and false are left out. */
export function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** An element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(svgNamespace, name), attributes, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false)
      continue;
    if (name.startsWith('on'))
      element.addEventListener(name.slice(2), value);
    else if (name === 'dataset')
      Object.assign(element.dataset, value);
    else if (name === 'value' || name === 'checked')
      element[name] = value;
    else
      element.setAttribute(name === 'className' ? 'class' : name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of an id that index.html has. */
export const byId = id => document.getElementById(id);

// Drawn on a grid of 16, one stroke wide.
const strokes = {
  menu: 'M2 4h12M2 8h12M2 12h12',
  close: 'M4 4l8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  send: 'M8 13V3M4 7l4-4 4 4',
  stop: 'M5 5h6v6H5z',
  copy: 'M6 6h7v7H6zM3 10V3h7',
  edit: 'M3 13l1-3 7-7 2 2-7 7zM10 4l2 2',
  again: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5V5h-2.6',
  left: 'M10 3L5 8l5 5',
  right: 'M6 3l5 5-5 5',
  tokens: 'M2 5h4v6H2zM7.500 5h2v6h-2zM11 5h3v6h-3z',
  theme: 'M8 2.500a5.500 5.500 0 1 0 0 11zM8 2.500a5.500 5.500 0 0 1 0 11',
  keyboard: 'M2 4h12v8H2zM4.500 6.500h.01M7 6.500h.01M9 6.500h.01M11.500 6.500h.01M5.500 9.500h5',
  sliders: 'M2 5h7M12 5h2M2 11h2M7 11h7M10.500 3.500v3M5.500 9.500v3',
  ranks: 'M2 13V7h3v6zM6.500 13V3h3v10zM11 13V9h3v4z',
  trash: 'M3 4.500h10M6 4.500V3h4v1.500M4.500 4.500l.5 8.500h6l.5-8.500',
};

/** A small drawing beside or instead of a label. */
export function icon(name) {
  return svg('svg', { viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, svg('path', { d: strokes[name] }));
}

/** A button that shows a drawing; its label is what assistive technology and the tooltip say. */
export function iconButton(name, label, onclick, properties = {}) {
  return el('button', { type: 'button', className: 'icon-button', 'aria-label': label, title: label, onclick, ...properties }, icon(name));
}

let announced = 0;

/** Says something to those who do not see the screen. */
export function announce(text) {
  const status = byId('status');
  status.textContent = text + (++announced % 2 ? '' : '\u00a0'); // the same words twice are said twice
}
