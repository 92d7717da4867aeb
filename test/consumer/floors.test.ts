import { expect, test } from 'vitest'
import { Floors } from '../../src/consumer/floors.ts'

const row = (priority: number, position: string) => ({ priority, position })
const GROUND = Array(10).fill('0')

test('a floor lies above the last claimed position of its priority, and never falls by claiming', () => {
  const floors = new Floors()
  expect(floors.next()).toEqual({ positions: GROUND, fromTheGround: false, falls: 0 })
  floors.saw(floors.next(), [row(9, '5'), row(9, '12'), row(9, '7'), row(2, '9223372036854775806')], true)
  expect(floors.positions[9]).toBe('13')
  expect(floors.positions[2]).toBe('9223372036854775807')
  floors.saw(floors.next(), [row(9, '8')], true)
  expect(floors.positions[9]).toBe('13')
})

test('when rows may have come back one claim looks from the ground, and the others go on', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(9, '12')], true)
  floors.fall()
  expect(floors.next()).toMatchObject({ positions: GROUND, fromTheGround: true })
  expect(floors.next().positions[9]).toBe('13')
})

test('a look from the ground that finds as much as it asked for may have left something: all go on behind it', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(7, '40'), row(8, '12'), row(9, '70')], true)
  floors.fall()
  const [ground, other] = [floors.next(), floors.next()]
  floors.saw(ground, [row(7, '41'), row(8, '3')], true)
  expect([floors.positions[7], floors.positions[8], floors.positions[9]]).toEqual(['42', '4', '71'])
  floors.saw(other, [row(8, '13')], true)
  expect(floors.positions[8]).toBe('4')
})

test('one that finds less has seen all there is, and takes nothing back', () => {
  const floors = new Floors()
  floors.saw(floors.next(), [row(9, '12')], true)
  floors.fall()
  floors.saw(floors.next(), [row(9, '3')], false)
  expect(floors.positions[9]).toBe('13')
})

test('a claim that was sent before rows came back raises nothing', () => {
  const floors = new Floors()
  const before = floors.next()
  floors.fall()
  floors.saw(before, [row(9, '12')], true)
  expect(floors.positions).toEqual(GROUND)
})
