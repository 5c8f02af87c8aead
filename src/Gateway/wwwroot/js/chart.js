// Lines over the last five minutes, the latest at the right.
import { el, svg } from './dom.js';

const width = 344, height = 84, left = 30, top = 6, bottom = 16, longest = 300_000, shortest = 60_000;

/** A chart of some figures of LiveFeed's history. */
export class LineChart {
  constructor({ label, series, isWhole = false }) {
    Object.assign(this, { label, series, isWhole });
    this.lines = series.map((_, at) => svg('path', { class: `line line-${at}` }));
    this.area = svg('path', { class: 'area' });
    this.ticks = [0, 1, 2].map(at => {
      const y = this.yOf(at / 2);
      return { line: svg('line', { class: 'grid', x1: left, x2: width, y1: y, y2: y }), text: svg('text', { class: 'tick', x: left - 5, y: y + 3, 'text-anchor': 'end' }) };
    });
    this.drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' },
      this.ticks.flatMap(tick => [tick.line, tick.text]), this.area, this.lines,
      this.since = svg('text', { class: 'tick', x: left, y: height - 2 }), svg('text', { class: 'tick', x: width, y: height - 2, 'text-anchor': 'end' }, 'now'));
    this.element = el('div', { className: 'chart' }, this.drawing, el('ul', { className: 'legend' }, series.map((one, at) => el('li', { className: `key line-${at}` }, one.name))));
  }

  yOf(share) {
    return top + (1 - share) * (height - top - bottom);
  }

  show(history) {
    const now = performance.now();
    const span = Math.min(longest, Math.max(shortest, now - (history[0]?.at ?? now)));
    this.since.textContent = span < 90_000 ? 'a minute ago' : `${Math.round(span / 60_000)} minutes ago`;
    const highest = roundUp(Math.max(this.isWhole ? 2 : 1, ...history.flatMap(one => this.series.map(series => one[series.key]))), this.isWhole);
    this.ticks.forEach((tick, at) => {
      tick.text.textContent = short(highest * at / 2);
    });
    const xOf = at => Math.max(left, width - (now - at) / span * (width - left));
    this.series.forEach((series, at) => {
      const points = history.map(one => `${xOf(one.at).toFixed(1)},${this.yOf(one[series.key] / highest).toFixed(1)}`);
      this.lines[at].setAttribute('d', points.length > 1 ? `M${points.join('L')}` : '');
      if (at === 0)
        this.area.setAttribute('d', points.length > 1 ? `M${xOf(history[0].at).toFixed(1)},${this.yOf(0)}L${points.join('L')}L${xOf(history.at(-1).at).toFixed(1)},${this.yOf(0)}Z` : '');
    });
    const last = history.at(-1);
    this.drawing.setAttribute('aria-label', `${this.label}, now ${this.series.map(series => `${series.name} ${short(last?.[series.key] ?? 0)}`).join(', ')}; scale to ${short(highest)}`);
  }
}

function roundUp(value, isWhole) {
  const power = 10 ** Math.floor(Math.log10(value));
  const rounded = [1, 2, 3, 4, 6, 8, 10].map(step => step * power).find(step => step >= value);
  return isWhole ? Math.max(2, 2 * Math.ceil(rounded / 2)) : rounded;
}

const short = value => value >= 10_000 ? `${Math.round(value / 1000)}k` : value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
