import { AsyncLocalStorage } from 'node:async_hooks'
import { type TestContext, type TestOptions, test as vitest, onTestFinished as whenItHasFinished } from 'vitest'

type Work<Given extends unknown[]> = (...given: Given) => Promise<void>
type Name<Given extends unknown[]> = (name: string, ...test: [Work<Given>] | [TestOptions, Work<Given>]) => void

interface SideBySide extends Name<[]> {
  for<Case>(cases: readonly Case[]): Name<[Case]>
  skipIf(reason: unknown): Name<[]>
}

const contexts = new AsyncLocalStorage<TestContext>()

/** For files whose tests spend their time waiting, each on a database of its own: they run side by side. */
export const test: SideBySide = Object.assign(named(vitest.concurrent), {
  for: <Case>(cases: readonly Case[]): Name<[Case]> => {
    const each = vitest.concurrent.for([...cases])
    return (name, ...given) => {
      const { options, work } = parts(given)
      each(name, options, (one, context) => contexts.run(context, () => work(one as Case)))
    }
  },
  skipIf: (reason: unknown) => named(vitest.skipIf(reason).concurrent),
})

/** What a bench has it clean up is cleaned up with its own test: among several, vitest by itself does not know which one asks. */
export function onTestFinished(work: () => unknown): void {
  const finished = contexts.getStore()?.onTestFinished ?? whenItHasFinished
  finished(async () => void (await work()))
}

function named(one: typeof vitest.concurrent): Name<[]> {
  return (name, ...given) => {
    const { options, work } = parts(given)
    one(name, options, (context) => contexts.run(context, work))
  }
}

function parts<Given extends unknown[]>(given: [Work<Given>] | [TestOptions, Work<Given>]) {
  return given.length === 1 ? { options: {}, work: given[0] } : { options: given[0], work: given[1] }
}
