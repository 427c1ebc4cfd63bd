// Requests to the management API. Every request of the page goes through here.

const DEADLINE_MS = 30_000;

// The header with the login. It is kept nowhere else, so that it is gone when the page is.
let authorization = null;

// What went wrong with a request, in a sentence for the user.
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// Checks a login with the broker and keeps it. Returns who this is: `{ name, tags }`.
export async function signIn(user, password) {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  authorization = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  try {
    return await get('whoami');
  } catch (error) {
    signOut();
    throw error;
  }
}

export function signOut() {
  authorization = null;
}

export const get = (path, signal) => request('GET', path, { signal });
export const post = (path, body) => request('POST', path, { body: JSON.stringify(body) });
export const remove = (path, headers) => request('DELETE', path, { headers });

// Joins parts to a path below `/api`, each encoded whole: a queue may be named `a/b`.
// Browsers resolve the parts `.` and `..` even where they are encoded, so that a request for such a
// name would reach something else: it is refused.
export function path(...parts) {
  const bad = parts.find((part) => ['', '.', '..'].includes(part));
  if (bad !== undefined) {
    throw new ApiError(`A browser cannot ask for the name “${bad}”. Use another program for it.`);
  }
  return parts.map(encodeURIComponent).join('/');
}

async function request(method, path, { headers, ...options }) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const { signal = deadline } = options;
  try {
    const response = await fetch(new URL(`api/${path}`, document.baseURI), {
      ...options,
      method,
      headers: { ...headers, Authorization: authorization, 'Content-Type': 'application/json' },
      signal: AbortSignal.any([signal, deadline]),
      // The browser keeps no login of its own, asks the user for none, and stores no answer.
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
    });
    const text = await response.text();
    if (!response.ok) throw refusal(response.status, text);
    return text === '' ? null : parse(text);
  } catch (error) {
    if (error.name === 'TimeoutError') throw new ApiError('The broker did not answer in time.');
    if (error instanceof TypeError) throw new ApiError('The broker cannot be reached.');
    throw error;
  }
}

// Makes an error of what the broker answers when it refuses: `{ error, reason }`, or any text.
function refusal(status, text) {
  const words = { 401: 'Not allowed', 403: 'Forbidden', 404: 'It is not there, or no longer' }[status];
  let answer = { reason: text.slice(0, 300) };
  try {
    answer = JSON.parse(text);
  } catch {
    // The text is told as it is.
  }
  const { error, reason = error } = answer;
  const said = typeof reason === 'string' ? reason : JSON.stringify(reason);
  return new ApiError(`${words ?? 'The broker refused'} (${status}): ${said}`, status);
}

// Parses JSON. Integers that JavaScript would round stay as the digits that were sent.
const parse = (text) => JSON.parse(text, (_, value, context) =>
  (Number.isInteger(value) && !Number.isSafeInteger(value) ? context?.source ?? value : value));
