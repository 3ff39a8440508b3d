// Who one is: sign up, in and out; password, API keys, export and erasure.
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { api, ask, send } from '../api/client';
import { session } from '../api/session';
import type { User } from '../api/types';
import { Field, Form, typed } from '../parts/form';
import { useResource } from '../parts/resource';
import { List, Panel, Table, Time } from '../parts/small';

export function Account() {
  const person = session.value?.user;
  return (
    <>
      <header class="title">
        <h1 tabIndex={-1}>Account</h1>
        {person && (
          <button type="button" onClick={signOut}>
            Sign out
          </button>
        )}
      </header>
      {person ? <SignedIn person={person} /> : <SignedOut />}
    </>
  );
}

async function signOut() {
  // The session ends here even where the server cannot be reached.
  const ending = send('/v1/sessions/current', { method: 'DELETE' }).catch(() => undefined);
  session.value = null;
  await ending;
}

function SignedOut() {
  const isNew = useSignal(false);
  const forgot = useSignal(false);
  const heading = useRef<HTMLDivElement>(null);
  if (forgot.value) {
    return (
      <Panel title="Forgotten password" aside={<Switch to="Sign in" of={forgot} value={false} />}>
        <Form label="Forgotten password" button="Mail me a link" onSend={requestReset}>
          <Email />
        </Form>
      </Panel>
    );
  }
  return (
    <div ref={heading} class="narrow">
      {isNew.value ? (
        <Panel title="Sign up" aside={<Switch to="I have an account" of={isNew} value={false} />}>
          <Form label="Sign up" button="Sign up" onSend={signUp}>
            <Email />
            <Field
              label="Password"
              name="password"
              type="password"
              autocomplete="new-password"
              minLength={12}
              maxLength={128}
              hint="12 to 128 characters"
              required
            />
          </Form>
        </Panel>
      ) : (
        <Panel title="Sign in" aside={<Switch to="Sign up" of={isNew} value={true} />}>
          <Form label="Sign in" button="Sign in" onSend={signIn}>
            <Email />
            <Field label="Password" name="password" type="password" autocomplete="current-password" required />
          </Form>
          <Switch to="I have forgotten my password" of={forgot} value={true} />
        </Panel>
      )}
    </div>
  );
}

function Email() {
  return <Field label="Email" name="email" type="email" autocomplete="username" required />;
}

function Switch({ to, of, value }: { to: string; of: { value: boolean }; value: boolean }) {
  return (
    <button
      type="button"
      class="link"
      onClick={() => {
        of.value = value;
      }}
    >
      {to}
    </button>
  );
}

function credentials(fields: FormData) {
  return { email: typed(fields, 'email') ?? '', password: String(fields.get('password') ?? '') };
}

async function signUp(fields: FormData) {
  const body = credentials(fields);
  const { status } = await ask(api.POST('/v1/users', { body }));
  if (status === 'active') {
    session.value = await ask(api.POST('/v1/sessions', { body }));
    return undefined;
  }
  return `We have sent a mail to ${body.email}. Open its link to confirm your account, and then sign in here.`;
}

async function signIn(fields: FormData) {
  session.value = await ask(api.POST('/v1/sessions', { body: credentials(fields) }));
  return undefined;
}

async function requestReset(fields: FormData) {
  const email = typed(fields, 'email') ?? '';
  const { detail } = await ask(api.POST('/v1/password-resets', { body: { email } }));
  return detail;
}

function SignedIn({ person }: { person: User }) {
  return (
    <div class="grid halves">
      <Panel title="You">
        <dl class="facts">
          <dt>Email</dt>
          <dd>{person.email}</dd>
          <dt>Role</dt>
          <dd>{person.role}</dd>
          <dt>Signed in until</dt>
          <dd>{session.value && <Time at={session.value.expires_at} />}</dd>
        </dl>
      </Panel>
      <Password />
      <Keys />
      <Data person={person} />
    </div>
  );
}

function Password() {
  async function change(fields: FormData, form: HTMLFormElement) {
    const body = {
      current_password: String(fields.get('current_password') ?? ''),
      new_password: String(fields.get('new_password') ?? ''),
    };
    session.value = await ask(api.PUT('/v1/me/password', { body }));
    form.reset();
    return 'Your password is changed. Every other session has ended.';
  }
  return (
    <Panel title="Password">
      <Form label="Change the password" button="Change the password" onSend={change}>
        <Field
          label="Current password"
          name="current_password"
          type="password"
          autocomplete="current-password"
          required
        />
        <Field
          label="New password"
          name="new_password"
          type="password"
          autocomplete="new-password"
          minLength={12}
          maxLength={128}
          hint="12 to 128 characters"
          required
        />
      </Form>
    </Panel>
  );
}

const SCOPES: ['read' | 'trade' | 'alerts', string][] = [
  ['read', 'Read balances, orders and trades'],
  ['trade', 'Place and cancel orders'],
  ['alerts', 'Everything about alerts'],
];

function Keys() {
  const keys = useResource(async () => (await ask(api.GET('/v1/api-keys'))).items, []);
  const created = useSignal<string | null>(null);

  async function create(fields: FormData, form: HTMLFormElement) {
    const scopes = fields.getAll('scopes') as ('read' | 'trade' | 'alerts')[];
    const { key, name } = await ask(api.POST('/v1/api-keys', { body: { name: typed(fields, 'name') ?? '', scopes } }));
    created.value = key;
    form.reset();
    await keys.reload();
    return `The key “${name}” is made. It is shown once, so copy it now.`;
  }

  async function revoke(id: string) {
    await ask(api.DELETE('/v1/api-keys/{id}', { params: { path: { id } } })).catch(() => undefined);
    await keys.reload();
  }

  return (
    <Panel title="API keys">
      <List of={keys} empty="You have no API key.">
        {(items) => (
          <Table
            label="API keys"
            head={
              <>
                <th scope="col">Name</th>
                <th scope="col">Scopes</th>
                <th scope="col">Made</th>
                <th scope="col">
                  <span class="unseen">Actions</span>
                </th>
              </>
            }
          >
            {items.map(({ id, name, scopes, created_at, revoked_at }) => (
              <tr key={id}>
                <th scope="row">{name}</th>
                <td>{scopes.join(', ')}</td>
                <td>
                  <Time at={created_at} />
                </td>
                <td class="number">
                  {revoked_at ? (
                    <span class="soft">revoked</span>
                  ) : (
                    <button type="button" class="link" onClick={() => revoke(id)} aria-label={`Revoke ${name}`}>
                      Revoke
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </List>
      <Form label="New API key" button="Make a key" onSend={create}>
        <Field label="Name" name="name" maxLength={100} placeholder="my trading program" required />
        <fieldset class="checks">
          <legend>Scopes</legend>
          {SCOPES.map(([scope, label]) => (
            <label key={scope}>
              <input type="checkbox" name="scopes" value={scope} defaultChecked={scope === 'read'} />
              {label}
            </label>
          ))}
        </fieldset>
      </Form>
      {created.value && (
        <p class="secret">
          <code>{created.value}</code>
        </p>
      )}
    </Panel>
  );
}

function Data({ person }: { person: User }) {
  async function exportData() {
    const file = await ask(api.GET('/v1/me/export'));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 2)], { type: 'application/json' }));
    link.download = 'tickbell-export.json';
    link.click();
    URL.revokeObjectURL(link.href);
    return 'Your data is downloaded.';
  }
  async function erase(fields: FormData) {
    if (typed(fields, 'email') !== person.email) return `Type ${person.email} to erase it.`;
    await ask(api.DELETE('/v1/me'));
    session.value = null;
    return undefined;
  }
  return (
    <Panel title="Your data">
      <Form label="Export" button="Download my data" onSend={exportData} />
      <details>
        <summary>Erase my account</summary>
        <p>
          This deletes your alerts, cancels your orders and erases all that we have about you, at once and for good.
        </p>
        <Form label="Erase my account" button="Erase my account" danger onSend={erase}>
          <Field label={`Type ${person.email}`} name="email" autocomplete="off" required />
        </Form>
      </details>
    </Panel>
  );
}
