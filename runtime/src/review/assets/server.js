// Questions to the server.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let leaves = false;

// Goes to the login page, once: a second order would break the first one off.
export function leave() {
  if (leaves) return;
  leaves = true;
  location.assign("/login");
}

// Asks and gives the answer's JSON. Who is not logged in goes to the login page.
export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "the server cannot be reached");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401 && location.pathname !== "/login") leave();
  throw new Refused(answer.status, said.error ?? `the server answers ${answer.status}`);
}
