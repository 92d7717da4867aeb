import { createServer } from 'node:http'
import { healthHandler, type Posthaste } from '../index.ts'
import { UsageFailure } from './failure.ts'

/** Answers /live and /ready on every address of the machine until it is disposed of. */
export async function answerProbes(posthaste: Posthaste<unknown>, port: number): Promise<AsyncDisposable> {
  const server = createServer(healthHandler(posthaste))
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', (error: NodeJS.ErrnoException) =>
    reject(new UsageFailure(`Cannot listen on port "${port}": ${reasonOf(error)}`, { cause: error })),
  )
  server.listen(port, resolve)
  await promise
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') return 'another program does'
  return code === 'EACCES' ? 'this account may not; choose one above 1023' : message
}
