// Uses the page as its user does: signs in, finds a queue with a hostile name, looks at its message,
// publishes, purges and deletes. Resolves to what was seen on the way.

(async () => {
  const DEADLINE_MS = 60_000;
  const one = (selector) => document.querySelector(selector);
  const seen = {};

  // Resolves to what `find` returns once that is something. The page polls, so it comes by itself.
  async function until(what, find) {
    const start = Date.now();
    for (;;) {
      const found = find();
      if (found) return found;
      if (Date.now() - start > DEADLINE_MS) throw new Error(`waited for ${what}: ${document.body.innerText}`);
      await new Promise(requestAnimationFrame);
    }
  }

  const button = (text) => until(text, () => [...document.querySelectorAll('#view button')].find((each) => each.textContent === text));
  const fresh = () => until('fresh data', () => one('#freshness').className === 'live');
  const news = (words) => until(words, () => one('#news').textContent.includes(words) && one('#news p').textContent);

  function type(input, text) {
    input.value = text;
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }

  async function signIn(password) {
    const form = await until('the form', () => one('#sign-in:not([hidden])'));
    type(form.user, 'guest');
    type(form.password, password);
    one('#enter').click();
  }

  async function agree(label) {
    (await button(`${label}…`)).click();
    await until('the question', () => one('dialog[open]'));
    seen[`question of ${label}`] = one('#question-text').textContent;
    one('#question-yes').click();
  }

  await until('the page', () => document.readyState === 'complete');
  await signIn('wrong');
  seen.refused = await news('401');
  await signIn('guest');
  await fresh();
  seen.title = one('#view h1').textContent;
  seen.plots = document.querySelectorAll('polyline').length;

  location.hash = '#/queues';
  await until('the queues', () => one('tbody a'));
  type(one('input[type=search]'), '<IMG');
  await until('one queue', () => document.querySelectorAll('tbody tr').length === 1);
  seen.queue = one('tbody a').textContent;
  one('tbody a').click();
  await until('its page', () => one('#view h1').textContent === seen.queue);
  await fresh();

  (await button('Peek')).click();
  seen.message = (await until('the message', () => one('article'))).textContent;
  const fields = [...document.querySelectorAll('#view form:last-of-type textarea')];
  type(fields[0], 'published here');
  (await button('Publish')).click();
  seen.published = await news('Published');
  await until('both messages', () => one('.tiles b').textContent === '2');
  await agree('Purge');
  seen.purged = await news('Purged');
  await agree('Delete');
  seen.deleted = await news('Deleted');
  seen.address = location.hash;
  await fresh();
  seen.left = [...document.querySelectorAll('tbody a')].map((each) => each.textContent);

  one('#sign-out').click();
  await until('the form', () => one('#sign-in:not([hidden])'));
  seen.images = document.querySelectorAll('#view img').length;
  seen.stored = localStorage.length + sessionStorage.length + document.cookie.length;
  return seen;
})()
