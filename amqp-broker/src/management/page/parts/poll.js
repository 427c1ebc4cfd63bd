// Polls: every five seconds, one request at a time, never while the page is hidden, and less often after
// errors.

const INTERVAL_MS = 5_000;
const LONGEST_MS = 60_000;

// Starts to poll. `ask(signal)` returns a promise of data, `show(data)` displays it, and
// `fail(error, delay)` learns of an error and the milliseconds until the next try. `refresh` asks at once,
// in place of a request that is under way.
export function poll({ ask, show, fail }) {
  let timer = null;
  let current = null;
  let failures = 0;
  let stopped = false;

  async function turn() {
    clearTimeout(timer);
    if (document.hidden || stopped) return;
    const own = new AbortController();
    current = own;
    try {
      const data = await ask(own.signal);
      if (current !== own) return;
      show(data);
      failures = 0;
    } catch (error) {
      // A request that was replaced or stopped has nothing to say.
      if (current !== own) return;
      failures += 1;
      fail(error, delay());
    }
    // Whoever learned of a failure may have stopped this.
    if (current !== own) return;
    current = null;
    timer = setTimeout(turn, delay());
  }

  const delay = () => Math.min(INTERVAL_MS * 2 ** failures, LONGEST_MS);

  function visibilityChanged() {
    if (current === null) turn();
  }

  function abandon() {
    clearTimeout(timer);
    current?.abort();
    current = null;
  }

  function refresh() {
    abandon();
    turn();
  }

  function stop() {
    stopped = true;
    abandon();
    document.removeEventListener('visibilitychange', visibilityChanged);
  }

  document.addEventListener('visibilitychange', visibilityChanged);
  turn();
  return { refresh, stop };
}

// Asks at every sixth call only, for what is large and seldom changes; returns the last answer.
export function seldom(ask) {
  let calls = 0;
  let last;
  return async (signal) => {
    if (calls % 6 === 0) last = await ask(signal);
    calls += 1;
    return last;
  };
}
