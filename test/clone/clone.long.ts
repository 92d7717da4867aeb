import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lives, within } from '../support/process.ts'
import { noTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'
import { atWork, Clone, commandOf } from './clone.ts'

const DEMO = ['run', 'demo', '--', '--orders', '300']
const ENDLESS = ['run', 'demo', '--', '--orders', '1000000']
const NPM_12 = '12.2.2'

describe('a clone below a home of mode 0700', () => {
  test.each([
    ['nothing at all: it sets itself up', [], undefined],
    [`npm ci of npm ${NPM_12}`, ['ci'], NPM_12],
    [`npm ci --ignore-scripts of npm ${NPM_12}`, ['ci', '--ignore-scripts'], NPM_12],
  ])('shows its demo after %s', (_, install, npm) => {
    using clone = new Clone(npm === undefined ? {} : { npm })
    if (install.length > 0) expect(clone.npm(...install)).toMatchObject({ status: 0 })
    showsItsDemo(clone)
  })
})

describe('a clone below a home of mode 0700, after npm ci --ignore-scripts', () => {
  let clone: Clone

  beforeAll(() => {
    clone = new Clone()
    expect(clone.npm('ci', '--ignore-scripts')).toMatchObject({ status: 0 })
  }, 300_000)
  afterAll(() => clone[Symbol.dispose]())

  test('shows its demo', () => showsItsDemo(clone))

  test.skipIf(noTerminal)('ends its demo in order on Ctrl-C, and leaves nothing running', async () => {
    const demo = clone.atTerminal(...ENDLESS)
    const servers = await atWork(clone, demo)
    expect(servers.length).toBeGreaterThan(0)
    demo.type('\u0003')
    expect(await demo.ended).toBe(130)
    expect(demo.screen()).toContain('Interrupted: everything is stopped and removed')
    expect(demo.screen()).not.toMatch(/ {4}at |npm error/)
    await until(() => clone.family().length === 0, { what: 'everybody is gone' })
    expect(servers.filter(lives)).toEqual([])
  })

  test.skipIf(noTerminal).each([
    ['npm', /^(\S*node \S*npm-cli\.js|npm) run demo/],
    ['the program that sets things up', /^\S*node scripts\/ensure\.mjs/],
    ['the demo', /^\S*node --import \S+leash\.mjs src\/cli\/main\.ts demo/],
  ])('leaves no postgres process two seconds after a kill -9 of %s', async (_, who) => {
    const servers = await atWork(clone, clone.atTerminal(...ENDLESS))
    const victims = clone.family().filter((pid) => who.test(commandOf(pid)))
    expect(victims).toHaveLength(1)
    process.kill(victims[0]!, 'SIGKILL')
    await within(2_000, () => !servers.some(lives) && clone.servers().length === 0)
    await until(() => clone.family().length === 0, { what: 'everybody is gone' })
  })
})

function showsItsDemo(clone: Clone): void {
  const { status, out } = clone.npm(...DEMO)
  expect(out).toContain('0 lost, 0 duplicated, 0 phantom, 0 oversold')
  expect(status).toBe(0)
  expect(clone.family()).toEqual([])
}
