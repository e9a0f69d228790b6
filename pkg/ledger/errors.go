package ledger

import "errors"

// ErrRoomGone is returned for Admitted when a slot's node no longer has the room that the plan counted on, or was cordoned, because the view it was
// made from is outdated, or a worker that is there already shows that all ask for more. The attempt has to be repeated.
var ErrRoomGone = errors.New("the room planned for the gang was taken meanwhile")

// ErrNotWaiting is returned for Admitted when the gang is not waiting to be admitted with that room: it has ended, or is admitted, or asks
// for something else by now; and for Placed when the pod has come to stand for a gang since its attempt began.
var ErrNotWaiting = errors.New("the gang is not waiting to be admitted")

// ErrOverQuota is returned for Admitted and Placed when the queue does not let the gang or pod in any more: others were
// faster. The attempt has to be repeated, and says why it waits.
var ErrOverQuota = errors.New("the queue has let others in meanwhile")

// ErrTakenBack is returned for Placed when others have begun to leave with all that the worker's gang holds since its attempt began: its
// leader, who goes last, would go before it. The attempt has to be repeated, and says why it waits.
var ErrTakenBack = errors.New("what its gang holds is being taken back")
