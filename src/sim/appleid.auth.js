// The simulator's stand-in for Apple's script: code of its own, the same API, speaking to the simulator it came from.
(() => {
  'use strict';

  const apple = new URL(document.currentScript.src).origin;
  let settings = {};

  const scopes = (scope) => (scope ?? '').split(/\s+/).filter(Boolean);

  const authorizeUrl = (asked, mode) => {
    const parameters = {
      client_id: asked.clientId,
      redirect_uri: asked.redirectURI,
      response_type: 'code id_token',
      response_mode: mode,
      scope: scopes(asked.scope).join(' '),
      state: asked.state,
      nonce: asked.nonce,
    };
    const query = Object.entries(parameters)
      .filter(([, value]) => value !== undefined && value !== '')
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return `${apple}/auth/authorize?${query.join('&')}`;
  };

  const announce = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

  // What the popup says, or that it was closed. Nobody but the popup of this sign-in is listened to.
  const answerOf = (popup) => new Promise((resolve, reject) => {
    const end = (act) => {
      clearInterval(watch);
      window.removeEventListener('message', hear);
      act();
    };
    const hear = ({ source, origin, data }) => {
      if (source !== popup || origin !== apple) return;
      const told = JSON.parse(data).data;
      // Not by the popup itself: it could be seen to be closed before it is heard.
      popup.close();
      end(() => (told.error ? reject({ error: told.error }) : resolve(told)));
    };
    const watch = setInterval(() => {
      if (popup.closed) end(() => reject({ error: 'popup_closed_by_user' }));
    }, 200);
    window.addEventListener('message', hear);
  });

  const byPopup = async (asked) => {
    const popup = window.open(authorizeUrl(asked, 'web_message'), 'appleid', 'popup,width=480,height=720');
    if (!popup) throw { error: 'popup_blocked_by_browser' };
    return answerOf(popup);
  };

  const signIn = async (changes = {}) => {
    const asked = { ...settings, ...changes };
    if (!asked.clientId || !asked.redirectURI) throw { error: 'invalid_request' };
    if (!asked.usePopup) {
      window.location.assign(authorizeUrl(asked, 'form_post'));
      return new Promise(() => {});
    }
    try {
      const answer = await byPopup(asked);
      // Apple's page says `detail.data`, and those who looked found it in `detail` itself.
      announce('AppleIDSignInOnSuccess', { ...answer, data: answer });
      return answer;
    } catch (fault) {
      announce('AppleIDSignInOnFailure', fault);
      throw fault;
    }
  };

  // A button in every element with the id or class that Apple's pages name.
  const renderButton = () => {
    for (const place of document.querySelectorAll('#appleid-signin, .appleid-signin')) {
      const dark = place.dataset.color !== 'white';
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = place.dataset.type === 'continue' ? 'Continue with Apple' : 'Sign in with Apple';
      button.style.cssText = 'min-height:2.75rem;min-width:100%;padding:0 1.25rem;font:600 1rem system-ui,sans-serif;'
        + 'border-radius:.75rem;border:1px solid currentColor;cursor:pointer;'
        + (dark ? 'background:#000;color:#fff' : 'background:#fff;color:#000');
      // What went wrong is told by the event.
      button.addEventListener('click', () => signIn().catch(() => {}));
      place.replaceChildren(button);
    }
  };

  const readMetaTags = () => {
    const names = {
      'client-id': 'clientId', scope: 'scope', 'redirect-uri': 'redirectURI', state: 'state', nonce: 'nonce',
      'use-popup': 'usePopup',
    };
    for (const [name, setting] of Object.entries(names)) {
      const content = document.querySelector(`meta[name="appleid-signin-${name}"]`)?.content;
      if (content) settings[setting] = setting === 'usePopup' ? content === 'true' : content;
    }
  };

  const init = (given) => {
    settings = { ...settings, ...given };
    renderButton();
  };

  window.AppleID = { auth: { init, signIn, renderButton } };
  const begin = () => {
    readMetaTags();
    renderButton();
  };
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', begin);
  else begin();
})();
