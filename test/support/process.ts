import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A directory that is gone when the test is; under /var/tmp, which every account may enter. */
export function scratch(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync('/var/tmp/posthaste-scratch-')
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 10 }) }
}

/** The first line that a program prints; an error with its stderr when it ends without one. */
export async function firstLine(child: ChildProcess): Promise<string> {
  let stderr = ''
  child.stderr?.on('data', (chunk) => (stderr += chunk))
  const lines = createInterface({ input: child.stdout! })
  const ended = once(child, 'exit').then(() => undefined)
  const line = await Promise.race([once(lines, 'line').then(([text]) => text as string), ended])
  if (line === undefined) throw new Error(`it ended without a word: ${stderr}`)
  return line
}

/** A process that is alive, zombies excepted: in a container nobody may be there to bury them. */
export function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Resolves when `condition` holds, rejects when it has not within `ms`. */
export async function within(ms: number, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + ms
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Starts a module of TypeScript text that may import from `src/`. */
export function spawnScript(
  text: string,
  options: { uid?: number; cwd?: string; env?: NodeJS.ProcessEnv } = {},
): ChildProcess {
  return spawn(process.execPath, ['--input-type=module-typescript', '--eval', text], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: ROOT,
    ...options,
    ...(options.uid !== undefined && { gid: options.uid }),
  })
}

/** An older Node, when this machine has one outside of node_modules. */
export function systemNode(): string | undefined {
  const path = (process.env.PATH ?? '').split(':').filter((entry) => !entry.includes('node_modules'))
  return path.map((entry) => join(entry, 'node')).find((file) => spawnSync(file, ['--version']).status === 0)
}
