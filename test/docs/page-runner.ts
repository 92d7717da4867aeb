// Runs the programs of one page one after the other, each with its own database, in one process: a program in, what it did
// out, over IPC. What a program leaves open keeps this process from ending, which the test finds.
import { pathToFileURL } from 'node:url'

export interface Program {
  readonly file: string
  readonly url: string
}

export interface Ran {
  readonly failure: string
  readonly stdout: string
  readonly stderr: string
}

const told = { stdout: '', stderr: '' }
for (const name of ['stdout', 'stderr'] as const)
  process[name].write = (chunk: string | Uint8Array) => {
    told[name] += chunk
    return true
  }

process.on('message', async ({ file, url }: Program) => {
  process.env.DATABASE_URL = url
  Object.assign(told, { stdout: '', stderr: '' })
  const failure = await import(pathToFileURL(file).href).then(
    () => '',
    (error) => (error instanceof Error ? error.stack! : String(error)),
  )
  process.send!({ failure, ...told } satisfies Ran)
})
