// The ranks and the paths between them: an edge's label is the time of a small message there and back, its width the bandwidth; dots run along while steps do.
import { el, svg } from './dom.js';

const width = 344, mostLabelled = 5;

/** A drawing of a group's paths. */
export function transportOf(ranks, info) {
  if (ranks.length === 1)
    return el('p', { className: 'about' }, 'One rank: nothing travels.');
  const height = ranks.length === 2 ? 64 : 208;
  const places = ranks.map((_, at) => placeOf(at, ranks.length, height));
  const edges = [];
  for (let one = 0; one < ranks.length; one++)
    for (let other = one + 1; other < ranks.length; other++)
      edges.push(edgeOf(ranks, one, other, places));
  const reduce = Math.max(...ranks.map(rank => rank.all_reduce_microseconds));
  const transports = [...new Set(ranks.map(rank => rank.transport))].join(', ');
  const words = edges.map(edge => edge.words).join('; ');
  return el('div', {},
    svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${transports}; ${words}` },
      edges.flatMap(edge => edge.lines), edges.flatMap(edge => ranks.length <= mostLabelled ? edge.label : []),
      places.map((place, at) => svg('g', {},
        svg('circle', { class: `fill rank-${ranks[at].rank % 8}`, cx: place.x, cy: place.y, r: 15 }),
        svg('text', { class: 'node-name', x: place.x, y: place.y + 4.5, 'text-anchor': 'middle' }, String(ranks[at].rank))))),
    el('p', { className: 'about', title: ranks[0].transport_reason }, `${transports}; a small all-reduce ${time(reduce)}${info?.wire && info.wire !== 'f32' ? `; sums sent as ${info.wire}` : ''}`));
}

function placeOf(at, count, height) {
  if (count === 2)
    return { x: at === 0 ? 40 : width - 40, y: height / 2 };
  const angle = 2 * Math.PI * at / count - Math.PI / 2;
  return { x: width / 2 + 120 * Math.cos(angle), y: height / 2 + (height / 2 - 22) * Math.sin(angle) };
}

function edgeOf(ranks, one, other, places) {
  const paths = [ranks[one].paths?.find(path => path.peer === ranks[other].rank), ranks[other].paths?.find(path => path.peer === ranks[one].rank)].filter(Boolean);
  const from = places[one], to = places[other];
  const trip = paths.length > 0 ? paths.reduce((sum, path) => sum + path.round_trip_microseconds, 0) / paths.length : null;
  const rate = paths.length > 0 ? Math.max(...paths.map(path => path.bytes_per_second)) : 0;
  const text = trip === null ? '' : time(trip);
  const stroke = rate > 0 ? Math.min(5, Math.max(1, Math.log10(rate / 1e7))) : 1.5;
  const line = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  return {
    words: `${ranks[one].rank} and ${ranks[other].rank}${text ? `: ${text} there and back` : ''}${rate > 0 ? `, ${(rate / 1e9).toFixed(1)} GB/s` : ''}`,
    lines: [
      svg('line', { class: 'edge', 'stroke-width': stroke.toFixed(1), ...line }, svg('title', {}, `ranks ${ranks[one].rank} and ${ranks[other].rank}: ${text}${rate > 0 ? `, ${(rate / 1e9).toFixed(1)} GB/s` : ''}`)),
      svg('line', { class: 'traffic', ...line }),
    ],
    label: text ? [svg('text', { class: 'edge-name', x: middle.x, y: middle.y - 6, 'text-anchor': 'middle' }, text)] : [],
  };
}

function time(microseconds) {
  return microseconds >= 1000 ? `${(microseconds / 1000).toFixed(1)} ms` : `${microseconds >= 100 ? Math.round(microseconds) : microseconds.toFixed(1)} µs`;
}
