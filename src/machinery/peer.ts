import { PeerMissing } from '../errors.ts'

/** What needs a package that users bring themselves, loaded when it is first needed; a `PeerMissing` when they have not brought it. */
export async function withPeer<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load()
  } catch (error) {
    throw isMissing(error, name) ? new PeerMissing(name, { cause: error }) : error
  }
}

function isMissing(error: unknown, name: string): boolean {
  const { code, message } = (error ?? {}) as { code?: string; message?: string }
  return code === 'ERR_MODULE_NOT_FOUND' && message?.includes(`package '${name}'`) === true
}
