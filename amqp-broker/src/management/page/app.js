// The page: signing in, and opening the view that the address names.

import { ApiError, get, signIn, signOut } from './parts/api.js';
import { byId, element, setText } from './parts/dom.js';
import { time, visible } from './parts/format.js';
import { clear, news, perform, problem } from './parts/notices.js';
import { poll } from './parts/poll.js';
import { route } from './parts/routes.js';
import { connection } from './views/connection.js';
import { exchange } from './views/exchange.js';
import { channels, connections, exchanges, queues } from './views/lists.js';
import { overview } from './views/overview.js';
import { queue } from './views/queue.js';

// Each makes a view of `{ parts, query, refresh }`: `{ title, content, ask, show }`, where `ask(signal)`
// gets data and `show(data)` displays it. It may have a `parent`: its title and address.
const VIEWS = { overview, connections, connection, channels, exchanges, exchange, queues, queue };

let signedIn = false;
// Ends what is open.
let close = () => {};

// Forgets the login and displays the form to sign in.
function leave(why = '') {
  close();
  signOut();
  signedIn = false;
  byId('bar').hidden = true;
  document.title = 'Sign in';
  clear();
  news(why, 'problem');
  byId('view').replaceChildren();
  byId('sign-in').reset();
  byId('sign-in').hidden = false;
  byId('sign-in').user.focus();
}

async function enter() {
  const { user, password } = byId('sign-in');
  const { name } = await signIn(user.value, password.value);
  signedIn = true;
  password.value = '';
  setText(byId('user'), visible(name));
  byId('sign-in').hidden = true;
  byId('bar').hidden = false;
  open();
}

function open() {
  close();
  close = () => {};
  clear();
  let polling;
  try {
    const { name, ...context } = route();
    const make = Object.hasOwn(VIEWS, name) ? VIEWS[name] : overview;
    const view = make({ ...context, refresh: () => polling.refresh() });
    display(view);
    view.content.hidden = true;
    polling = poll({ ask: view.ask, show: (data) => fresh(view, data), fail: failed });
    close = polling.stop;
  } catch (error) {
    display({ title: 'Not here', content: '' });
    setState('', '');
    problem(error.message);
  }
}

function display({ title, parent: [above, address] = [], content }) {
  const heading = element('h1', { tabindex: '-1' }, title);
  byId('view').replaceChildren(above ? element('a', { href: address }, above) : '', heading, content);
  document.title = `${title} · ${byId('product').textContent}`;
  for (const anchor of document.querySelectorAll('nav a')) {
    anchor.setAttribute('aria-current', anchor.textContent === (above ?? title) && 'page');
  }
  setState('', 'Loading…');
  // A screen reader says where the user is now.
  heading.focus();
}

function fresh(view, data) {
  view.show(data);
  view.content.hidden = false;
  problem('');
  setState('live', `Updated ${time(Date.now())}`);
}

async function failed(error, delay) {
  setState('stale', `Next try in ${delay / 1000} s`);
  problem(error instanceof ApiError ? error.message : `The answer is not as expected: ${error.message}`);
  if (error.status === 401 && !(await stillKnown()) && signedIn) leave('The broker no longer accepts the login.');
}

// A 401 may refuse a request or the user; whoami tells which.
const stillKnown = () => get('whoami').then(() => true, ({ status }) => status !== 401);

function setState(kind, text) {
  byId('freshness').className = kind;
  setText(byId('freshness'), text);
}

byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  perform(byId('enter'), enter);
});
byId('sign-out').addEventListener('click', () => leave());
window.addEventListener('hashchange', () => {
  // The link that skips to the content names no view.
  if (signedIn && location.hash !== '#main') open();
});
leave();
