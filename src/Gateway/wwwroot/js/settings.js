// How answers are made: instructions, sampling, tokens, the key. What is left empty is the server's default, which its field shows.
import { askKey } from './dialogs.js';
import { byId, el } from './dom.js';

const fields = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 2, step: 0.05, about: '0 always takes the likeliest token' },
  { name: 'max_tokens', label: 'Most tokens', min: 1, step: 1, about: 'Length of an answer', otherwise: 'all there is room for' },
  { name: 'top_p', label: 'Top p', min: 0, max: 1, step: 0.01, about: 'Share of probability kept' },
  { name: 'top_k', label: 'Top k', min: 0, step: 1, about: 'Likeliest tokens kept; 0 keeps all' },
  { name: 'min_p', label: 'Min p', min: 0, max: 1, step: 0.01, about: 'Least share of the likeliest' },
  { name: 'seed', label: 'Seed', step: 1, about: 'Same seed, same answer', otherwise: 'random' },
  { name: 'presence_penalty', label: 'Presence penalty', min: -2, max: 2, step: 0.1, about: 'Against words that were there' },
  { name: 'frequency_penalty', label: 'Frequency penalty', min: -2, max: 2, step: 0.1, about: 'Against words that came often' },
  { name: 'repetition_penalty', label: 'Repetition penalty', min: 0.1, max: 2, step: 0.05, about: '1 is none' },
];

/** The panel of settings for the conversation that is shown. */
export class SettingsPanel {
  /** @param onchange  Told after a change, with the settings. */
  constructor(onchange) {
    this.onchange = onchange;
    this.settings = {};
    this.inputs = new Map();
    byId('sampling').append(...fields.map(field => this.rowOf(field)));
    byId('system').addEventListener('input', event => this.change('system', event.target.value));
    byId('logprobs').addEventListener('change', event => this.change('logprobs', event.target.checked));
    byId('reset-sampling').addEventListener('click', () => {
      for (const { name } of fields)
        delete this.settings[name];
      this.show(this.settings);
      this.onchange(this.settings);
    });
    byId('change-key').addEventListener('click', () => askKey('Calls carry this key. It is kept in this browser only; leave it empty to forget it.'));
  }

  /** Shows a conversation's settings; changes go into them. */
  show(settings) {
    this.settings = settings;
    byId('system').value = settings.system ?? '';
    byId('logprobs').checked = settings.logprobs === true;
    for (const { name } of fields)
      this.inputs.get(name).value = settings[name] ?? '';
  }

  /** Shows what holds where nothing is set. */
  showDefaults(info) {
    const defaults = info.default_sampling ?? {};
    for (const { name, otherwise } of fields)
      this.inputs.get(name).placeholder = otherwise ?? (name in defaults ? String(Math.round(defaults[name] * 1000) / 1000) : '');
    this.inputs.get('max_tokens').max = info.max_model_len;
  }

  rowOf({ name, label, min, max, step, about }) {
    const input = el('input', { type: 'number', id: `set-${name}`, min, max, step, inputmode: step === 1 ? 'numeric' : 'decimal', autocomplete: 'off', 'aria-describedby': `about-${name}` });
    this.inputs.set(name, input);
    input.addEventListener('change', () => this.change(name, input.value === '' ? undefined : Number(input.value)));
    return el('div', { className: 'field' }, el('label', { for: `set-${name}` }, label), input, el('p', { id: `about-${name}`, className: 'about' }, about));
  }

  change(name, value) {
    if (value === undefined || Number.isNaN(value))
      delete this.settings[name];
    else
      this.settings[name] = value;
    this.onchange(this.settings);
  }
}
