import torch

from ayar.nets.traced import traced


def test_a_traced_computation_gives_the_same_bits_for_other_inputs_of_the_same_layout():
    def compute(a, b, counter):
        counter += 1
        product = (a.view(3, 4) @ b.expand(4, 5)).detach().reshape(15)
        return product.sigmoid() * counter

    torch.manual_seed(0)
    counter = torch.zeros(())
    run = traced(compute, [torch.randn(12), torch.randn(4, 5), counter])
    assert counter == 0
    a, b = torch.randn(12), torch.randn(4, 5)
    assert torch.equal(run(a, b, counter), compute(a, b, torch.zeros(())))
    assert counter == 1


def test_inputs_may_lie_strided_in_a_larger_tensor():
    rows = torch.arange(20.0).view(4, 5)
    run = traced(lambda a: a.reshape(-1) * 2, [rows[:, 1:3]])
    assert run(rows[:, 2:4]).tolist() == [4, 6, 14, 16, 24, 26, 34, 36]
