// What the page tells its user: problems, outcomes, and questions before an act.

import { button, byId, element, setText } from './dom.js';

// What the next view says when it opens.
let arriving = '';

// Displays why there is no fresh data.
export const problem = (text) => display(byId('problem'), text, 'problem');

// Displays the outcome of an act: it is `done`, a `warning` or a `problem`.
export const news = (text, kind = 'done') => display(byId('news'), text, kind);

// Goes to another view, which displays the outcome of the act that ended this one.
export function moveOn(address, text) {
  arriving = text;
  location.hash = address;
}

// Removes what is displayed, when another view opens.
export function clear() {
  problem('');
  news(arriving);
  arriving = '';
}

function display(place, text, kind) {
  // An alert that repeats itself would be read aloud at every poll.
  if (place.dataset.text === text) return;
  place.dataset.text = text;
  const dismiss = button('Dismiss', () => display(place, ''));
  place.replaceChildren(text && element('div', { class: `notice ${kind}` }, element('p', {}, text), dismiss));
}

// Runs an act while its button is disabled; displays what it returns or throws.
export async function perform(control, act) {
  control.disabled = true;
  try {
    const outcome = await act();
    if (outcome) news(...outcome);
  } catch (error) {
    news(error.message, 'problem');
  }
  control.disabled = false;
  // A disabled button has lost the focus.
  if (document.activeElement === document.body) control.focus();
}

// Makes a button that asks before it acts. `question()` returns the text of the question.
export function dangerButton(label, question, act) {
  const control = button(`${label}…`, async () => {
    if (await confirmed(label, question())) perform(control, act);
  }, 'danger');
  return control;
}

function confirmed(label, text) {
  const dialog = byId('question');
  setText(byId('question-title'), `${label}?`);
  setText(byId('question-text'), text);
  setText(byId('question-yes'), label);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
