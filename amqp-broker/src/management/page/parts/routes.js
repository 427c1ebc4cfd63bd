// Addresses within the page: `#/queue/VHOST/NAME?page=2`, each part encoded whole.

// Makes the address of a view: `link('queue', '/', 'a/b')`.
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;

// Returns the view that the address asks for, as `{ name, parts, query }`.
export function route() {
  const [where, query] = location.hash.slice(2).split('?');
  const [name, ...parts] = where.split('/').map(decodeURIComponent);
  return { name, parts, query: new URLSearchParams(query) };
}

// Puts the state of a view into the address, so that going back finds it again.
export function keep(query) {
  history.replaceState(null, '', `${location.hash.split('?')[0]}?${new URLSearchParams(query)}`);
}
