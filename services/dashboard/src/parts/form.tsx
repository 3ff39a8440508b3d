// A form that says what is wrong beside each field, in the words of the API.
import { useSignal } from '@preact/signals';
import { type ComponentChildren, createContext } from 'preact';
import { useContext, useId } from 'preact/hooks';
import { ApiError, sentence } from '../api/client';

const Problem = createContext<ApiError | null>(null);

interface FormProps {
  /** Sends what was typed, and returns what to say about it. */
  onSend(fields: FormData, form: HTMLFormElement): Promise<string | undefined>;
  onInput?(fields: FormData): void;
  button: string;
  /** The name of the form, for people who do not see where it is. */
  label: string;
  danger?: boolean;
  children?: ComponentChildren;
}

export function Form({ onSend, onInput, button, label, danger, children }: FormProps) {
  const isSending = useSignal(false);
  const error = useSignal<unknown>(null);
  const done = useSignal<string | undefined>(undefined);

  async function submit(event: SubmitEvent) {
    event.preventDefault();
    if (isSending.value) return;
    const form = event.currentTarget as HTMLFormElement;
    isSending.value = true;
    error.value = null;
    done.value = undefined;
    try {
      done.value = await onSend(new FormData(form), form);
    } catch (reason) {
      error.value = reason;
      // The fields that are wrong are marked once this is rendered.
      setTimeout(() => form.querySelector<HTMLElement>('[aria-invalid]')?.focus());
    } finally {
      isSending.value = false;
    }
  }

  return (
    <form
      aria-label={label}
      onSubmit={submit}
      onInput={onInput && ((event) => onInput(new FormData(event.currentTarget)))}
    >
      <Problem.Provider value={error.value instanceof ApiError ? error.value : null}>{children}</Problem.Provider>
      <p role="status" class={error.value ? 'problem' : 'done'}>
        {error.value ? sentence(error.value) : done.value}
      </p>
      <button type="submit" class={danger ? 'danger' : 'main'} aria-disabled={isSending.value}>
        {button}
      </button>
    </form>
  );
}

interface FieldProps {
  label: string;
  name: string;
  /** Where the API says what is wrong with it; without it, at the top of the body. */
  pointer?: string;
  hint?: string;
  type?: 'text' | 'email' | 'password';
  value?: string;
  required?: boolean;
  autocomplete?: string;
  inputMode?: 'decimal' | 'email' | 'text';
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  list?: string;
  placeholder?: string;
  uppercase?: boolean;
}

export function Field({ label, name, pointer = `/${name}`, hint, value, uppercase, ...others }: FieldProps) {
  const id = useId();
  const wrong = useContext(Problem)?.about(pointer);
  const note = wrong ?? hint;
  // Which attributes go together depends on the type, which only the caller knows.
  const attributes: Record<string, unknown> = others;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        {...attributes}
        id={id}
        name={name}
        defaultValue={value ?? ''}
        class={uppercase ? 'uppercase' : undefined}
        spellcheck={false}
        aria-invalid={wrong ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
      />
      {note && (
        <small id={`${id}-note`} class={wrong ? 'problem' : undefined}>
          {wrong ? `It ${wrong}` : note}
        </small>
      )}
    </div>
  );
}

interface ChoiceProps {
  label: string;
  name: string;
  options: [value: string, label: string][];
  value?: string;
}

export function Choice({ label, name, options, value }: ChoiceProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} name={name}>
        {options.map(([option, text]) => (
          <option key={option} value={option} selected={option === value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** A few choices side by side. */
export function Segments({ label, name, options, value }: ChoiceProps) {
  return (
    <fieldset class="segments">
      <legend>{label}</legend>
      {options.map(([option, text]) => (
        <label key={option}>
          <input type="radio" name={name} value={option} defaultChecked={option === value} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** What was typed into a field; undefined where nothing was. */
export function typed(fields: FormData, name: string): string | undefined {
  return fields.get(name)?.toString().trim() || undefined;
}
