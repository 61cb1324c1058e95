from itertools import pairwise, product
from uuid import UUID

import pytest

from app.domain.audit.principal import COMMAND_LINE, ENVIRONMENT, Principal, Role
from app.kernel.errors import Forbidden


def test_a_higher_role_includes_the_lower_ones() -> None:
    ordered = [Role.VIEWER, Role.ADMIN, Role.OWNER]
    assert all(higher.includes(lower) and not lower.includes(higher) for lower, higher in pairwise(ordered))
    assert all(role.includes(role) for role in Role)


@pytest.mark.parametrize(("has", "needs"), list(product(Role, Role)))
def test_a_role_is_required(has: Role, needs: Role) -> None:
    principal = Principal(kind="admin_key", id="1", name="n", role=has)
    if has.includes(needs):
        principal.require_role(needs)
        return
    with pytest.raises(Forbidden) as caught:
        principal.require_role(needs)
    assert caught.value.code == "insufficient_scope"


def test_an_organizations_owner_is_not_the_installations() -> None:
    scoped = Principal(kind="admin_key", id="1", name="n", role=Role.OWNER, organization_id=UUID(int=1))
    with pytest.raises(Forbidden):
        scoped.require_installation()
    for principal in (COMMAND_LINE, ENVIRONMENT):
        principal.require_installation()
        principal.require_role(Role.OWNER)
