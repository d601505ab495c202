// Signs in with Apple at siwa-proxy, and calls the application behind it. No build step, no library but Apple's.
//
// The proxy needs `sign_in.path = "/auth/apple"`, `[sessions]`, this Services ID in `apple.client_ids`, and this page's address
// in `sign_in.redirect_uris`; Apple needs to know that address as a return URL of it. A page of another origin needs `[cors]` besides, and full addresses here.

const CLIENT_ID = 'com.example.web';
const SIGN_IN = '/auth/apple';
const APPLICATION = '/hello';

// In memory only, where no other page and no later visitor finds it; a reload signs out. A page that should stay signed in
// is better served by the proxy's cookie (`access = "browser"`), which scripts cannot read.
let session = null;
let asked = null;

const element = (id) => document.getElementById(id);
const say = (text) => { element('status').textContent = text; };

/** What the server refused, or could not do. */
class Refusal extends Error {
  constructor(status, { error, title, code } = {}) {
    super(`${error ?? title ?? 'refused'} (${status}${code ? `, ${code}` : ''})`);
    this.status = status;
  }
}

const ask = async (method, path, { body, bearer } = {}) => {
  const headers = { accept: 'application/json' };
  if (body) headers['content-type'] = 'application/json';
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, content);
  return content;
};

// --- Signing in

/** Gets a nonce from the proxy, which will know it again, once; Apple repeats it in the token. */
const prepare = async () => {
  const { nonce, expires_in: seconds } = await ask('POST', `${SIGN_IN}/nonce`);
  asked = { nonce, state: crypto.randomUUID(), redirectURI: location.origin + location.pathname };
  AppleID.auth.init({ clientId: CLIENT_ID, scope: 'name email', usePopup: true, ...asked });
  clearTimeout(prepare.timer);
  if (seconds) prepare.timer = setTimeout(() => session ?? attempt(prepare), seconds * 900);
};

/**
 * Trades what Apple gave for a session. The name is in `user`, at the first sign-in and never again; the code is redeemed
 * with the address that it was made for.
 */
const finish = async ({ authorization, user }) => {
  const { nonce, state, redirectURI } = asked;
  if (authorization.state !== state) throw new Error('this answer belongs to another request');
  session = await ask('POST', SIGN_IN, { body: { authorization, user, nonce, redirectURI } });
  show();
  say('You are signed in.');
};

// --- The session

const refreshToken = ({ refresh_token }) => ({ refresh_token });

/** New tokens for old. A refresh token is good once, so all who ask meanwhile wait for the same answer. */
const refresh = () => {
  refresh.running ??= ask('POST', `${SIGN_IN}/refresh`, { body: refreshToken(session) })
    .then((renewed) => { session = { ...session, ...renewed, user: session.user }; show(); })
    .finally(() => { refresh.running = null; });
  return refresh.running;
};

/** Asks as whoever is signed in; an access token that has expired is replaced, once. */
const withSession = async (method, path, bodyOf = () => undefined) => {
  const askNow = () => ask(method, path, { body: bodyOf(session), bearer: session.access_token });
  try {
    return await askNow();
  } catch (refusal) {
    if (refusal.status !== 401) throw refusal;
    await refresh();
    return askNow();
  }
};

const call = async () => {
  const seen = await withSession('GET', APPLICATION);
  const told = seen.headers.filter(([name]) => name.startsWith('x-apple-'));
  element('answer').hidden = false;
  element('answer').querySelector('pre').textContent = told.map(([name, value]) => `${name}: ${value}`).join('\n');
  say('The application answered.');
};

const signOut = async () => {
  await withSession('POST', `${SIGN_IN}/logout`, refreshToken);
  await forget('You are signed out.');
};

const deleteAccount = async () => {
  const dialog = element('deleting');
  dialog.returnValue = 'keep';
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener('close', closed, { once: true }));
  if (dialog.returnValue !== 'delete') return;
  const { success, apple } = await withSession('DELETE', `${SIGN_IN}/account`, refreshToken);
  if (!success) throw new Error('nobody here deletes accounts');
  // Without a code at sign-in, or a team key, there was nothing to revoke at Apple.
  const rest = apple === 'revoked' ? '' : ' Remove this app in the settings of your Apple Account, too.';
  await forget(`Your account is deleted.${rest}`);
};

const forget = async (why) => {
  session = null;
  show();
  await prepare();
  say(why);
};

// --- The page

const show = () => {
  const { user, expires_in: seconds } = session ?? {};
  element('signed-in').hidden = !session;
  element('signed-out').hidden = Boolean(session);
  if (!session) {
    element('answer').hidden = true;
    return;
  }
  const { given_name: given, family_name: family } = user.name_unverified ?? {};
  element('who').textContent = [given, family].filter(Boolean).join(' ') || user.email || 'Signed in';
  element('subject').textContent = user.id;
  element('address').textContent = user.email ? `${user.email}${user.is_private_email ? ' (hidden)' : ''}` : 'not shared';
  const until = new Date(Date.now() + seconds * 1000);
  element('token').textContent = `good until ${until.toLocaleTimeString()}`;
};

/** Does one thing at a time, and says what went wrong. Only a 401 signs anybody out: other failures mean nobody could tell. */
const attempt = async (step, ...given) => {
  const buttons = document.querySelectorAll('#signed-in .buttons button');
  buttons.forEach((button) => { button.disabled = true; });
  try {
    await step(...given);
  } catch (fault) {
    if (session && fault.status === 401) await forget('The session has ended.').catch(() => {});
    else say(`That did not work: ${fault.message}`);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
};

const onClick = (id, step) => element(id).addEventListener('click', () => attempt(step));

onClick('call', call);
onClick('refresh', async () => { await refresh(); say('Both tokens are new.'); });
onClick('sign-out', signOut);
onClick('delete', deleteAccount);

document.addEventListener('AppleIDSignInOnSuccess', ({ detail }) => attempt(async () => {
  try {
    await finish(detail.data ?? detail);
    element('who').focus();
  } catch (fault) {
    // The nonce is spent, or too old.
    await prepare();
    throw fault;
  }
}));
document.addEventListener('AppleIDSignInOnFailure', ({ detail }) => {
  const quiet = ['popup_closed_by_user', 'user_cancelled_authorize'];
  say(quiet.includes(detail.error) ? 'You are not signed in.' : `Apple said: ${detail.error}`);
});

await attempt(async () => {
  if (!window.AppleID) throw new Error("Apple's script could not be loaded");
  await prepare();
  show();
  say('');
});
