// The client of the API. Its operations and shapes are generated from the OpenAPI document.
import createClient from 'openapi-fetch';
import { address } from './config';
import type { paths } from './schema';
import { session } from './session';
import type { Problem } from './types';

/** An answer that is not the wished one, with what the API says about it. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<Problem>,
  ) {
    super(problem.detail ?? `The server answered with status ${status}.`);
  }

  /** What is wrong with a field of the request. */
  about(pointer: string): string | undefined {
    return this.problem.errors?.find((error) => 'pointer' in error && error.pointer === pointer)?.detail;
  }
}

/** Sends a request to a path of the API, as the person who is signed in. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const token = session.peek()?.token;
  if (token && !headers.has('Authorization')) headers.set('Authorization', `Bearer ${token}`);
  const response = await fetch(await address(path), { ...init, headers });
  // The session has ended elsewhere, or its user is erased.
  if (response.status === 401 && token && session.peek()?.token === token) session.value = null;
  return response;
}

// The address of the API is known once config.json was read, so this client makes paths of a host that is replaced.
export const api = createClient<paths>({
  baseUrl: 'http://api',
  fetch: async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = request.body === null ? null : await request.text();
    return send(pathname + search, { method: request.method, headers: request.headers, body, signal: request.signal });
  },
});

/** Returns the data of an answer, or throws what the API says instead. */
export async function ask<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (response.ok) return data as T;
  throw new ApiError(response.status, typeof error === 'object' && error ? (error as Partial<Problem>) : {});
}

/** A problem as a sentence for people. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return 'The server cannot be reached. Check your connection; this page tries again by itself.';
}
