// The server's counts, asked once a second while the page is to be seen, and what they grew by since: the last five minutes of it.
import { getJson } from './api.js';

const period = 1000, kept = 300;

/** Asks, remembers, tells. */
export class LiveFeed {
  /** @param on  wantsTopology(): whether ranks are shown; came(state): what is known now; needsKey(reason). */
  constructor(on) {
    this.on = on;
    this.history = [];
    this.timer = 0;
    this.last = null;
    document.addEventListener('visibilitychange', () => this.poke());
  }

  /** Begins. */
  start(info) {
    this.info = info;
    this.poke();
  }

  /** Asks at once, where it has begun. */
  poke() {
    if (!this.info)
      return;
    clearTimeout(this.timer);
    this.timer = 0;
    this.ask();
  }

  async ask() {
    if (document.hidden || this.isAsking)
      return;
    this.isAsking = true;
    try {
      await this.take();
    } finally {
      this.isAsking = false;
      if (!document.hidden)
        this.timer = setTimeout(() => this.ask(), period);
    }
  }

  async take() {
    const state = { info: this.info, history: this.history, state: 'ready', topology: this.topology ?? null, refusal: '' };
    try {
      const signal = AbortSignal.timeout(5000);
      const load = await getJson('load', signal);
      this.remember(load);
      state.load = load;
      if (this.on.wantsTopology())
        try {
          this.topology = await getJson('topology', signal);
          state.topology = this.topology;
        } catch (fault) {
          if (fault.status !== 403)
            throw fault;
          state.refusal = fault.message;
        }
      state.state = load.draining ? 'draining' : load.total_blocks === 0 ? 'starting' : 'ready';
    } catch (fault) {
      state.state = fault.status === 401 ? 'key' : 'silent';
      if (fault.status === 401)
        await this.on.needsKey(fault.message);
    }
    this.on.came(state);
  }

  remember(load) {
    const now = { at: performance.now(), generated: Number(load.generated_tokens), prompt: Number(load.prompt_tokens), steps: Number(load.steps) };
    if (this.last && now.generated >= this.last.generated) {
      const seconds = (now.at - this.last.at) / 1000;
      this.history.push({
        at: now.at,
        generated: (now.generated - this.last.generated) / seconds,
        prompt: (now.prompt - this.last.prompt) / seconds,
        steps: now.steps - this.last.steps,
        running: load.running_sequences,
        waiting: load.waiting_sequences,
      });
      if (this.history.length > kept)
        this.history.shift();
    }
    this.last = now;
  }
}
