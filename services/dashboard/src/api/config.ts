// Where the API is: beside this page, or where config.json says.

/** Reads the origin of the API; an empty one is that of the page. */
async function read(): Promise<string> {
  const response = await fetch('config.json');
  if (!response.ok) throw new Error(`config.json answered ${response.status}`);
  const { api } = (await response.json()) as { api: string };
  return api.replace(/\/$/, '');
}

let origin: Promise<string> | undefined;

/** The address of a path of the API. A failed read is repeated by the next call. */
export async function address(path: string): Promise<string> {
  origin ??= read();
  try {
    return (await origin) + path;
  } catch (error) {
    origin = undefined;
    throw error;
  }
}
