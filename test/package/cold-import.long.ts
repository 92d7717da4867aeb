import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { Installation, tarballOf } from './installation.ts'

const ROUNDS = 15
const BOUND_MS = 120

// What zod alone takes, which is a measure of the machine, where the bound is meant for.
const ZOD_MS = 45

// Modules load as fast as a machine, and what else it does, lets them: both are measured in turn, and the median is scaled by zod's.
test(`an import of the installed package takes less than ${BOUND_MS} ms, cold`, () => {
  using stranger = new Installation()
  const tarball = tarballOf(stranger)
  try {
    stranger.install(tarball)
  } finally {
    rmSync(dirname(tarball), { recursive: true, force: true })
  }
  const coldMs = (module: string) => Number(stranger.program('cold.mjs', COLD, { env: { MODULE: module } }).stdout)
  const rounds = Array.from({ length: ROUNDS }, () => ({ zod: coldMs('zod'), posthaste: coldMs('posthaste') }))
  const [zodMs, ourMs] = [median(rounds.map(({ zod }) => zod)), median(rounds.map(({ posthaste }) => posthaste))]
  const scaledMs = Math.round((ourMs / zodMs) * ZOD_MS)
  console.log(
    `import of "posthaste": median ${ourMs} ms here, ${scaledMs} ms where zod takes ${ZOD_MS} (here ${zodMs})`,
  )
  expect(Math.min(ourMs, scaledMs)).toBeLessThan(BOUND_MS)
})

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}

const COLD = `
const before = performance.now()
await import(process.env.MODULE)
console.log(Math.round(performance.now() - before))
`
