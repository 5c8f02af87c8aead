// The worker group, drawn: who owns what, where each rank's last second went, what lies between them, the KV cache, and tokens a second.
import { el, svg } from './dom.js';
import { LineChart } from './chart.js';
import { transportOf } from './transport.js';

const width = 344, barHeight = 14;
const kinds = [
  { name: 'compute', label: 'compute' },
  { name: 'exchange', label: 'collective' },
  { name: 'wait', label: 'waiting for a peer' },
  { name: 'idle', label: 'idle' },
];
const mostCells = 96, cacheCells = 240, cacheColumns = 40;

/** Draws into a holder; show() takes what LiveFeed knows. */
export class RanksView {
  constructor(holder) {
    this.holder = holder;
    this.note = el('p', { className: 'ranks-note' }, 'Waiting for the server…');
    this.figures = el('dl', { className: 'figures-row' });
    this.tokens = new LineChart({ label: 'Tokens a second', series: [{ name: 'generated', key: 'generated' }, { name: 'prompt', key: 'prompt' }] });
    this.queue = new LineChart({ label: 'Requests', series: [{ name: 'running', key: 'running' }, { name: 'waiting', key: 'waiting' }], isWhole: true });
    this.owned = el('div', { className: 'owned' });
    this.times = el('div', { className: 'times' });
    this.transport = el('div', { className: 'transport' });
    this.cache = el('div', { className: 'cache' });
    holder.append(this.note, this.figures,
      part('Tokens a second', this.tokens.element),
      part('Where the last second went', this.times),
      part('Who owns what', this.owned),
      part('Between the ranks', this.transport),
      part('KV cache', this.cache),
      part('Running and waiting', this.queue.element));
    this.signature = '';
    this.rows = [];
  }

  show({ load, topology, history, info, state, refusal }) {
    this.note.hidden = state === 'ready' && !refusal;
    this.note.textContent = refusal || { silent: 'The server does not answer. What is drawn was true before.', starting: 'The workers start.', draining: 'The server drains: it takes no new request.', key: 'The server asks for a key.' }[state] || '';
    if (load) {
      this.showFigures(load, history);
      this.showCache(load);
      this.tokens.show(history);
      this.queue.show(history);
    }
    const ranks = topology?.ranks ?? [];
    for (const one of [this.owned, this.times, this.transport])
      one.parentElement.hidden = ranks.length === 0;
    if (ranks.length === 0)
      return;
    const signature = JSON.stringify([topology.epoch, ranks.map(rank => [rank.heads, rank.kv_heads, rank.mlp_leaves, rank.vocab_rows, rank.pid, rank.paths, rank.transport])]);
    if (signature !== this.signature) {
      this.signature = signature;
      this.drawOwned(ranks);
      this.drawTimes(ranks);
      this.transport.replaceChildren(transportOf(ranks, info));
    }
    this.moveTimes(ranks);
    this.transport.classList.toggle('is-moving', (history.at(-1)?.steps ?? 0) > 0);
  }

  showFigures(load, history) {
    const last = history.slice(-3);
    const rate = last.length === 0 ? 0 : last.reduce((sum, one) => sum + one.generated, 0) / last.length;
    const asked = Number(load.cache_tokens_asked);
    const facts = [
      ['tokens/s', rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en')],
      ['running', String(load.running_sequences)],
      ['waiting', String(load.waiting_sequences)],
      ['prefix found', asked > 0 ? `${Math.round(100 * Number(load.cache_tokens_found) / asked)} %` : '–'],
    ];
    this.figures.replaceChildren(...facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
  }

  // 1. Who owns what: one band a kind, one colour a rank; a unit that two ranks hold shows both.
  drawOwned(ranks) {
    const bands = [['Query heads', 'heads'], ['KV heads', 'kv_heads'], ['MLP leaves', 'mlp_leaves'], ['Vocabulary', 'vocab_rows']].filter(([, key]) => ranks.some(rank => rank[key]));
    this.owned.replaceChildren(
      el('ul', { className: 'legend' }, ranks.map(rank => el('li', { className: `key rank-${rank.rank % 8}` }, `rank ${rank.rank}`, el('span', {}, bytes(rank.weight_bytes))))),
      ...bands.map(([label, key]) => {
        const total = Math.max(...ranks.map(rank => rank[key]?.end ?? 0));
        const words = ranks.map(rank => `rank ${rank.rank}: ${rangeText(rank[key])}`).join('; ');
        return el('figure', { className: 'band' },
          el('figcaption', {}, label, el('span', {}, total.toLocaleString('en'))),
          svg('svg', { viewBox: `0 0 ${width} 16`, role: 'img', 'aria-label': `${label}, ${words}` }, total <= mostCells ? cellsOf(ranks, key, total) : spansOf(ranks, key, total)));
      }));
  }

  // 2. Where time went: bars whose parts move from second to second.
  drawTimes(ranks) {
    this.rows = ranks.map(rank => {
      const parts = kinds.map(kind => svg('rect', { class: `time ${kind.name}`, y: 0, height: barHeight, x: 0, width: 0 }));
      const figure = el('span', { className: 'row-figure' });
      const drawing = svg('svg', { viewBox: `0 0 ${width} ${barHeight}`, preserveAspectRatio: 'none', role: 'img' }, svg('rect', { class: 'time-ground', width, height: barHeight }), parts);
      return { parts, figure, drawing, element: el('div', { className: 'time-row' }, el('span', { className: `chip rank-${rank.rank % 8}` }, String(rank.rank)), drawing, figure) };
    });
    this.times.replaceChildren(
      ...this.rows.map(row => row.element),
      el('ul', { className: 'legend' }, kinds.map(kind => el('li', { className: `key ${kind.name}` }, kind.label))));
  }

  moveTimes(ranks) {
    ranks.forEach((rank, index) => {
      const row = this.rows[index];
      const recent = rank.recent?.find(one => one.window_seconds === 1) ?? rank.recent?.[0];
      const seconds = recent && Number(recent.steps) > 0
        ? { compute: recent.compute_seconds, exchange: recent.collective_seconds, wait: recent.wait_seconds, idle: recent.idle_seconds }
        : { compute: 0, exchange: 0, wait: 0, idle: 1 };
      const sum = Object.values(seconds).reduce((total, one) => total + one, 0) || 1;
      let x = 0;
      kinds.forEach((kind, at) => {
        const share = width * seconds[kind.name] / sum;
        row.parts[at].setAttribute('x', x.toFixed(2));
        row.parts[at].setAttribute('width', share.toFixed(2));
        x += share;
      });
      const step = rank.step_microseconds / 1000;
      row.figure.textContent = step > 0 ? `${step < 10 ? step.toFixed(1) : Math.round(step)} ms a step` : '';
      row.drawing.setAttribute('aria-label', `Rank ${rank.rank}: ${kinds.map(kind => `${kind.label} ${Math.round(100 * seconds[kind.name] / sum)} %`).join(', ')}`);
    });
  }

  // 3. The KV cache: each cell a like number of blocks, what is held first.
  showCache(load) {
    const total = load.total_blocks;
    if (total === 0) {
      this.cache.parentElement.hidden = true;
      return;
    }
    this.cache.parentElement.hidden = false;
    const used = load.used_blocks, cached = load.cached_blocks;
    const cells = count => count === 0 ? 0 : Math.max(1, Math.round(cacheCells * count / total));
    const usedCells = cells(used), cachedCells = Math.min(cells(cached), cacheCells - usedCells);
    if (!this.cells) {
      const side = width / cacheColumns;
      this.cells = Array.from({ length: cacheCells }, (_, at) => svg('rect', { x: (at % cacheColumns) * side + 0.5, y: Math.floor(at / cacheColumns) * side + 0.5, width: side - 1.4, height: side - 1.4, rx: 1 }));
      this.cacheDrawing = svg('svg', { viewBox: `0 0 ${width} ${side * cacheCells / cacheColumns}`, role: 'img' }, this.cells);
      this.cacheLegend = el('ul', { className: 'legend' });
      this.cache.append(this.cacheDrawing, this.cacheLegend);
    }
    this.cells.forEach((cell, at) => cell.setAttribute('class', at < usedCells ? 'used' : at < usedCells + cachedCells ? 'cached' : 'free'));
    const free = total - used - cached;
    const words = [['used', used], ['cached', cached], ['free', free]];
    this.cacheDrawing.setAttribute('aria-label', `KV blocks: ${words.map(([name, count]) => `${count} ${name}`).join(', ')}`);
    this.cacheLegend.replaceChildren(...words.map(([name, count]) => el('li', { className: `key ${name}` }, name, el('span', {}, count.toLocaleString('en')))),
      el('li', { className: 'about' }, `blocks of ${load.block_tokens} tokens`));
  }
}

function part(title, element) {
  return el('section', { className: 'part' }, el('h3', {}, title), element);
}

function cellsOf(ranks, key, total) {
  const step = width / total, gap = Math.min(2, step * 0.15);
  const cells = [];
  for (let unit = 0; unit < total; unit++) {
    const owners = ranks.filter(rank => rank[key] && unit >= rank[key].start && unit < rank[key].end);
    owners.forEach((rank, at) => {
      const share = (step - gap) / owners.length;
      cells.push(svg('rect', { class: `fill rank-${rank.rank % 8}`, x: (unit * step + at * share).toFixed(2), y: 0, width: share.toFixed(2), height: 16, rx: Math.min(2, step / 6) }));
    });
  }
  return cells;
}

function spansOf(ranks, key, total) {
  return ranks.filter(rank => rank[key]).map(rank => {
    const x = width * rank[key].start / total, span = width * (rank[key].end - rank[key].start) / total;
    return svg('rect', { class: `fill rank-${rank.rank % 8}`, x: x.toFixed(2), y: 0, width: Math.max(0.5, span - 1.5).toFixed(2), height: 16, rx: 2 });
  });
}

const rangeText = range => range && range.end > range.start ? `${range.start} to ${range.end - 1}` : 'none';

function bytes(count) {
  const value = Number(count);
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}
