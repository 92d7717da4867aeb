import { mkdirSync, writeFileSync } from 'node:fs'

/** Leaves vitest's own counts in .posthaste/counts, as the one line that `npm test` and .ci/run end with. */
export default class CountsReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state) => tests.filter((test) => test.result().state === state).length
    // A file that cannot be loaded has no tests to fail; nor has an error outside of any.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandledErrors.length
    mkdirSync('.posthaste', { recursive: true })
    writeFileSync(
      '.posthaste/counts',
      `${count('passed')} passed, ${count('failed') + broken} failed, ${count('skipped')} skipped\n`,
    )
  }
}
